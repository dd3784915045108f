"""The layout of the project, read from its source: every rule is a checker that an offender below is caught by."""

import ast
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "optuna_llm"
FOLDERS = ("engine", "samplers", "workers")
ALLOWED_SIBLINGS = {"engine": {"engine"}, "samplers": {"samplers", "engine"}, "workers": {"workers", "engine"}}
ENGINE_LIBRARIES = {"optuna", "anyio", "tqdm"}  # tqdm is Optuna's own progress bar
LAZY_ADAPTERS = {
    "samplers/client/litellm_client.py",
    "samplers/client/local_client.py",
    "samplers/space/reply_model.py",
}
LONGEST_MODULE = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One module; `path` is relative to the root, with forward slashes."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def folder(self) -> str:
        return self.path.partition("/")[0] if "/" in self.path else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported module; `target` is absolute, `relative` says how it was written."""

    target: str
    relative: bool
    line: int


Checker = Callable[[Source], Iterator[str]]


def package_of(path: str) -> list[str]:
    return [PACKAGE, *path.split("/")[:-1]]


def imports_of(source: Source) -> Iterator[Import]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(target=alias.name, relative=False, line=node.lineno)
        elif isinstance(node, ast.ImportFrom):
            yield from from_imports(node, source)


def from_imports(node: ast.ImportFrom, source: Source) -> Iterator[Import]:
    base = package_of(source.path)[: -(node.level - 1) or None] if node.level else []
    module = [*base, *(node.module.split(".") if node.module else [])]
    bare = node.module is None or module == [PACKAGE]
    for target in [[*module, alias.name] for alias in node.names] if bare else [module]:
        yield Import(target=".".join(target), relative=bool(node.level), line=node.lineno)


def one_way(source: Source) -> Iterator[str]:
    """`samplers -> engine <- workers`, and nothing imports the root."""
    if source.folder not in ALLOWED_SIBLINGS:
        return
    for item in imports_of(source):
        parts = item.target.split(".")
        if parts[0] == PACKAGE and (len(parts) < 2 or parts[1] not in ALLOWED_SIBLINGS[source.folder]):
            yield f"{source.path}:{item.line} imports {item.target}"


def small_engine(source: Source) -> Iterator[str]:
    if source.folder != "engine":
        return
    for item in imports_of(source):
        top = item.target.split(".")[0]
        if top not in {PACKAGE, *ENGINE_LIBRARIES} and top not in sys.stdlib_module_names:
            yield f"{source.path}:{item.line} imports {item.target}"


def absolute_only_in_the_root(source: Source) -> Iterator[str]:
    """The root may be a folder of any name, so only there a relative import can go wrong."""
    for item in imports_of(source):
        if source.path == "__init__.py" and item.relative:
            yield f"{source.path}:{item.line} imports {item.target} relatively"
        if source.path != "__init__.py" and not item.relative and item.target.split(".")[0] == PACKAGE:
            yield f"{source.path}:{item.line} imports {item.target} absolutely"


def imports_at_the_top(source: Source) -> Iterator[str]:
    if source.path in LAZY_ADAPTERS:
        return
    for function in ast.walk(source.tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield f"{source.path}:{node.lineno} imports inside a function"


def no_print(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield f"{source.path}:{node.lineno} prints"


def short(source: Source) -> Iterator[str]:
    lines = len(source.text.splitlines())
    if lines > LONGEST_MODULE:
        yield f"{source.path} has {lines} lines"


def bare_root(source: Source) -> Iterator[str]:
    if source.folder == "" and source.path != "__init__.py":
        yield f"{source.path} stands in the root"


CHECKERS: Sequence[Checker] = (
    one_way,
    small_engine,
    absolute_only_in_the_root,
    imports_at_the_top,
    no_print,
    short,
    bare_root,
)
OFFENDERS = [
    (one_way, "samplers/a.py", "from ..workers import ThreadWorkers"),
    (one_way, "samplers/client/a.py", "from ...workers.thread import ThreadWorkers"),
    (one_way, "workers/a.py", "from ..samplers.client import Client"),
    (one_way, "engine/a.py", "from .. import samplers"),
    (one_way, "engine/a.py", "import optuna_llm"),
    (one_way, "engine/a.py", "from optuna_llm import LLMGuidedSampler"),
    (small_engine, "engine/a.py", "import pydantic"),
    (small_engine, "engine/a.py", "from numpy.random import Generator"),
    (absolute_only_in_the_root, "__init__.py", "from .engine import optimize_async"),
    (absolute_only_in_the_root, "samplers/a.py", "from optuna_llm.engine import records"),
    (imports_at_the_top, "engine/a.py", "def late():\n    import json"),
    (
        imports_at_the_top,
        "samplers/client/retry.py",
        "class A:\n    def late(self):\n        from . import limits",
    ),
    (no_print, "engine/a.py", "def say(): print('hello')"),
    (short, "engine/a.py", "x = 1\n" * (LONGEST_MODULE + 1)),
    (bare_root, "helpers.py", "x = 1"),
]
HONEST = [
    Source(path="__init__.py", text="from optuna_llm.engine import optimize_async"),
    Source(path="engine/a.py", text="import json\nimport anyio.abc\nfrom optuna import Trial\nfrom . import errors"),
    Source(path="samplers/client/a.py", text="import pydantic\nfrom ...engine.errors import OptunaLLMError"),
    Source(path="samplers/client/local_client.py", text="def start():\n    import xllamacpp"),
    Source(path="workers/a.py", text="from ..engine.records import Proposal\nx = 1\n" * (LONGEST_MODULE // 2)),
]


def project_sources() -> list[Source]:
    paths = [*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
    return [
        Source(path=path.relative_to(ROOT).as_posix(), text=path.read_text(encoding="utf-8")) for path in sorted(paths)
    ]


@pytest.mark.parametrize("checker", CHECKERS, ids=lambda checker: checker.__name__)
def test_the_project_keeps_the_rule(checker: Checker) -> None:
    assert [offence for source in project_sources() for offence in checker(source)] == []


@pytest.mark.parametrize(("checker", "path", "text"), OFFENDERS)
def test_an_offender_is_caught(checker: Checker, path: str, text: str) -> None:
    assert list(checker(Source(path=path, text=text)))


@pytest.mark.parametrize("source", HONEST, ids=lambda source: source.path)
def test_honest_code_is_let_through(source: Source) -> None:
    assert [offence for checker in CHECKERS for offence in checker(source)] == []


def test_every_rule_has_an_offender() -> None:
    assert {checker for checker, _, _ in OFFENDERS} == set(CHECKERS)


def test_the_whole_package_is_read() -> None:
    folders = {source.folder for source in project_sources()}
    assert folders == {"", *FOLDERS}
