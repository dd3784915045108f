"""What the site does beyond MkDocs: pages from the root, links out of the docs, and names that lead to the reference.

Pages are written for a clone: links are paths in the repository, and names of the API stand in backticks.
"""

import ast
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Final

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from mkdocs.utils import get_relative_url

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = ROOT / "build" / "site" / "optuna_llm"

# Documents outside of docs/ that are pages, too.
FROM_ROOT: Final = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "README.md": "index.md",  # which the site has in place of it
}
TITLES: Final = {"benchmarks.md": "Benchmarks"}
SHIM: Final = "https://unpkg.com/iframe-worker/shim"
WEB: Final = ("http://", "https://", "mailto:", "#")

_FOREIGN: Final = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//[^>]*>""")
_FENCE: Final = re.compile(r"^ *(`{3,})")
_LINK: Final = re.compile(r"(?P<head>!?\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\])\((?P<target>[^()\s]+)\)")
_COMMENT: Final = re.compile(
    r"<!-- (?:set-up|needs|until Ctrl-C|raises|failed trials|prints|slow)\b.*?-->\n?", re.DOTALL
)


def on_startup(**_: Any) -> None:
    """Lay out the package for mkdocstrings: the repository's root is the package, and holds much else.

    Before it looks for it: else it would find an installed one.
    """
    PACKAGE.mkdir(parents=True, exist_ok=True)
    parts = ["__init__.py", *(path.parent.name for path in ROOT.glob("[a-z]*/__init__.py"))]
    for name in parts:
        link, target = PACKAGE / name, os.path.relpath(ROOT / name, PACKAGE)
        if not link.is_symlink() and name not in ("benchmarks", "tests"):
            link.symlink_to(target)


def on_files(files: Any, config: Any) -> None:
    """Make pages of documents in the root."""
    for source, page in FROM_ROOT.items():
        if files.get_file_from_path(page) is None:
            text = (ROOT / source).read_text(encoding="utf-8")
            files.append(File.generated(config, page, content=_with_title(text, TITLES.get(page))))


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Have links lead to pages of the site, and the first mention of each name of the API to the reference."""
    here = page.file.src_uri
    text = _outside_fences(_without_hidden_blocks(markdown), lambda line: _relinked(line, here))
    return text if here.startswith("reference/") else _with_references(text)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """See that a page loads nothing from elsewhere."""
    return _self_contained(output, page.file.src_uri, page.url)


def on_post_template(output_content: str, template_name: str, config: Any) -> str:
    """The same for what is no page, such as that for what is not found."""
    return _self_contained(output_content, template_name, template_name)


def public_names() -> list[str]:
    """`optuna_llm.__all__`, read and not imported."""
    for node in ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return list(ast.literal_eval(node.value))
    raise ValueError("__init__.py has no __all__")


def _self_contained(html: str, name: str, url: str) -> str:
    """With our own copy of the one script that Material loads from another host. Raises where anything else does."""
    html = html.replace(SHIM, get_relative_url("javascripts/iframe-worker.js", url))
    foreign = _FOREIGN.search(html)
    if foreign:
        raise PluginError(f"{name} loads from another host: {foreign[0]}")
    return html


def _with_title(text: str, title: str | None) -> str:
    """A page has one title, and the document may have several chapters."""
    if title is None:
        return text
    return f"# {title}\n\n" + _outside_fences(text, lambda line: f"#{line}" if re.match(r"#{1,5} ", line) else line)


def _without_hidden_blocks(text: str) -> str:
    """Without the comments that tests read: they would end a paragraph or a list."""
    return _COMMENT.sub("", text)


def _outside_fences(text: str, change: Callable[[str], str]) -> str:
    lines, ticks = [], None
    for line in text.split("\n"):
        fence = _FENCE.match(line)
        if fence and ticks is None:
            ticks = fence[1]
        elif ticks is None:
            line = change(line)
        elif line.strip() == ticks:
            ticks = None
        lines.append(line)
    return "\n".join(lines)


def _relinked(line: str, here: str) -> str:
    """The links of a line on the page `here`, between pages of the site; what is no page there is plain text."""
    source = next((path for path, page in FROM_ROOT.items() if page == here and path != "README.md"), f"docs/{here}")

    def relinked(link: re.Match[str]) -> str:
        if link["target"].startswith(WEB):
            return link[0]
        path, hash_, anchor = link["target"].partition("#")
        target = os.path.normpath(PurePosixPath(source).parent / path)
        page = FROM_ROOT.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
        if page is None:
            return link["text"]
        return f"{link['head']}({os.path.relpath(page, PurePosixPath(here).parent)}{hash_}{anchor})"

    return _LINK.sub(relinked, line)


def _with_references(text: str) -> str:
    left = set(public_names())

    def linked(line: str) -> str:
        if line.startswith("#"):
            return line
        parts = re.split(r"(\[[^\]]*\]\([^)]*\)|`[^`]+`)", line)
        for at, part in enumerate(parts):
            name = re.fullmatch(r"`(\w+)(?:\(.*\))?`", part)
            if name and name[1] in left:
                left.discard(name[1])
                parts[at] = f"[{part}][optuna_llm.{name[1]}]"
        return "".join(parts)

    return _outside_fences(text, linked)
