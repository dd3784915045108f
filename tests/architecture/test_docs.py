"""What the documents name exists: files, folders and modules to run."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    *(path.name for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"),  # which tells of the past
    *(path.relative_to(ROOT).as_posix() for folder in ("docs", "benchmarks") for path in (ROOT / folder).rglob("*.md")),
]
# `engine/records.py`, `samplers/space/`: a path in backticks, as seen from the root or from its document.
NAMED = re.compile(r"`([a-z_.]+(?:/[a-z_]+)*(?:/|\.py))`")
LINKED = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
RUN = re.compile(r"python -m (benchmarks[a-z_.]*[a-z_])")


def missing(document: str, text: str) -> Iterator[str]:
    """What `text` names, as a file at the path `document`, and nobody finds."""
    beside = (ROOT / document).parent
    for path in NAMED.findall(text):
        if not any((folder / path).exists() for folder in (ROOT, beside)):
            yield f"{document} names {path}"
    for path in LINKED.findall(text):
        if not (beside / path).exists():
            yield f"{document} links to {path}"
    for module in RUN.findall(text):
        if find_spec(module) is None:
            yield f"{document} runs {module}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_names_exists(document: str) -> None:
    assert list(missing(document, (ROOT / document).read_text(encoding="utf-8"))) == []


def test_the_picture_of_the_rooms_shows_every_folder() -> None:
    picture = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```text")[1].split("```")[0]
    packages = (
        path for room in ("engine", "report", "samplers", "workers") for path in (ROOT / room).rglob("__init__.py")
    )
    rooms = {path.parent.name for path in packages}
    assert rooms <= set(re.findall(r"([a-z]+)/ ", picture))


@pytest.mark.parametrize(
    "text",
    [
        "see `engine/no_such_file.py`",
        "`records.py` beside it",
        "all of `engine/rooms/`",
        "[more](docs/no_such_page.md#why)",
        "python -m benchmarks.no_such_module --quick",
    ],
)
def test_what_is_missing_is_found(text: str) -> None:
    assert len(list(missing("README.md", text))) == 1


def test_what_exists_is_let_through() -> None:
    text = "`engine/records.py`, `workers/`, [more](docs/providers.md#prices), python -m benchmarks.throughput --quick"
    assert list(missing("README.md", text)) == []
    assert list(missing("benchmarks/README.md", "`throughput/limits.py` and [the root's](../README.md)")) == []
