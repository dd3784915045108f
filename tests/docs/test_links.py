"""Links and anchors resolve, in a clone as on the site."""

from pathlib import Path, PurePosixPath

import pytest
from pages import ROOT, anchors, links, pages, slug, text_of

DOCUMENTS = [*pages(), "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"]
WEB = ("https://", "http://", "mailto:")


def broken(document: str, text: str, root: Path = ROOT) -> list[str]:
    """The links of a document, at its path from `root`, that lead nowhere."""
    found = []
    for line, link in links(text):
        if link.startswith(WEB):
            continue
        path, _, anchor = link.partition("#")
        target = (root / PurePosixPath(document).parent / path) if path else root / document
        if not target.exists():
            found.append(f"{document}:{line}: no {path}")
        elif anchor and anchor not in anchors(text if not path else target.read_text(encoding="utf-8")):
            found.append(f"{document}:{line}: no #{anchor} in {path or document}")
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    assert broken(document, text_of(document)) == []


@pytest.mark.parametrize(
    "text",
    [
        "[gone](docs/no_such_page.md)",
        "[moved](CONTRIBUTING.md#no-such-heading)",
        "[here](#no-such-heading)",
        "![picture](docs/no_such_picture.svg)",
    ],
)
def test_a_link_to_nothing_is_found(text: str) -> None:
    assert len(broken("README.md", text)) == 1


def test_a_link_in_code_is_none() -> None:
    assert broken("README.md", "`[x](y)`\n```text\n[x](y)\n```\n") == []


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("The way of one trial", "the-way-of-one-trial"),
        ("`LLMGuidedSampler(strategy=)`, and more", "llmguidedsamplerstrategy-and-more"),
        ("[A link](page.md): done?", "a-link-done"),
    ],
)
def test_anchors_are_those_of_a_site(heading: str, anchor: str) -> None:
    assert slug(heading) == anchor
