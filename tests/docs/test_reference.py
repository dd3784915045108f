"""The reference has every public name, and the navigation every page."""

import re
from collections import Counter

from pages import ROOT, pages, text_of

import optuna_llm

REFERENCE = [page for page in pages() if page.startswith("docs/reference/")]
BESIDE = {"report.write_report", "report.annotate"}  # public, and not in the root
FROM_ROOT = {"benchmarks.md", "changelog.md", "contributing.md"}  # the site makes these


def test_every_public_name_is_documented_once() -> None:
    named = Counter(name for page in REFERENCE for name in re.findall(r"^::: optuna_llm\.(\S+)$", text_of(page), re.M))
    assert named == Counter([*optuna_llm.__all__, *BESIDE])


def test_every_page_is_in_the_navigation_once() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    of_docs = {page.removeprefix("docs/") for page in pages() if page.startswith("docs/")}
    assert Counter(re.findall(r"(\S+\.md)$", nav, re.M)) == Counter(of_docs | FROM_ROOT)
