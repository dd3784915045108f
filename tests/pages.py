"""Pages of Markdown, as readers of them see it: fenced blocks, links, anchors."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]

_FENCE: Final = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`]*)$")
_TITLE: Final = re.compile(r'title="([^"]+)"')
_MARKER: Final = re.compile(
    r"^ *<!-- (?P<word>needs|until Ctrl-C|raises|failed trials|prints(?:, but for numbers)?|slow)"
    r"(?:: (?P<more>.+))? -->$"
)
_LINK: Final = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(([^()\s]+)\)|!\[[^\]]*\]\(([^()\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} +(.*?)(?: *\{ *#([\w-]+) *\})?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block, or a hidden one (`language` "set-up"); `line` is that of its first line of text, from 1.

    `marker` is the word of the comment right before it, and `more` what that says behind its colon.
    """

    language: str
    text: str
    line: int
    title: str | None = None
    marker: str | None = None
    more: str | None = None

    def missing(self) -> list[str]:
        """What it needs that is not here: modules, programs, or variables of the environment."""
        needs = (self.more or "").split(", ") if self.marker == "needs" else []
        return [name for name in needs if not (name in os.environ or which(name) or find_spec(name))]


def pages() -> list[str]:
    """README and every page of the docs, as paths from the root."""
    docs = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    return ["README.md", *docs]


def text_of(page: str) -> str:
    """The Markdown of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    """The fenced and hidden blocks of a page, in their order. Raises `ValueError` where one has no end."""
    lines = text.splitlines()
    found: list[Block] = []
    at = 0
    while at < len(lines):
        opening = _FENCE.match(lines[at])
        if lines[at].strip() == "<!-- set-up":
            end = _end(lines, at, "-->")
            found.append(_block(lines, at, end, info="set-up"))
        elif opening:
            end = _end(lines, at, opening["ticks"])
            found.append(_block(lines, at, end, info=opening["info"], indent=len(opening["indent"])))
        else:
            end = at
        at = end + 1
    return found


def is_slow(text: str) -> bool:
    """Whether a page says of itself that its snippets take long."""
    return text.startswith("<!-- slow -->\n")


def outside_blocks(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a page that stand in no fence, with their numbers from 1."""
    ticks = None
    for number, line in enumerate(text.splitlines(), start=1):
        opening = _FENCE.match(line)
        if ticks is None and opening:
            ticks = opening["ticks"]
        elif ticks is not None:
            ticks = None if line.strip() == ticks else ticks
        else:
            yield number, line


def links(text: str) -> Iterator[tuple[int, str]]:
    """Where a page's links and pictures lead to, with the line on which each stands."""
    for number, line in outside_blocks(text):
        for found in _LINK.finditer(re.sub(r"`[^`]*`", "", line)):
            yield number, found[1] or found[2]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    names: set[str] = set()
    for _, line in outside_blocks(text):
        heading = _HEADING.match(line)
        if heading:
            name = heading[2] or slug(heading[1])
            repeated = sum(
                other == name or re.fullmatch(rf"{re.escape(name)}[-_]\d+", other) is not None for other in names
            )
            names |= {f"{name}-{repeated}", f"{name}_{repeated}"} if repeated else {name}
        names |= set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", line))
    return names


def slug(heading: str) -> str:
    """The anchor of one heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def _end(lines: list[str], at: int, closing: str) -> int:
    for number in range(at + 1, len(lines)):
        if lines[number].strip() == closing:
            return number
    raise ValueError(f"line {at + 1}: no end of {lines[at].strip()!r}")


def _block(lines: list[str], at: int, end: int, *, info: str, indent: int = 0) -> Block:
    language, _, options = info.strip().partition(" ")
    title = _TITLE.search(options)
    marker = _MARKER.match(lines[at - 1]) if at else None
    return Block(
        language=language,
        text=_joined(lines[at + 1 : end], indent),
        line=at + 2,
        title=title[1] if title else None,
        marker=marker["word"] if marker else None,
        more=marker["more"] if marker else None,
    )


def _joined(lines: list[str], indent: int) -> str:
    return "".join(f"{line[indent:] if not line[:indent].strip() else line}\n" for line in lines)
