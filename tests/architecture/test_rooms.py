"""The layout of the project, read from its source: every rule is a checker that an offender below is caught by."""

import ast
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "optuna_llm"
FOLDERS = ("cli", "engine", "report", "samplers", "workers")
ALLOWED_SIBLINGS = {
    "engine": {"engine"},
    "report": {"report", "engine", "samplers", "workers"},
    "samplers": {"samplers", "engine"},
    "workers": {"workers", "engine"},
}
ENGINE_LIBRARIES = {"optuna", "anyio", "tqdm"}  # tqdm is Optuna's own progress bar
LAZY_ADAPTERS = {  # heavy libraries, each imported when it is first needed
    "samplers/client/library/loading.py",
    "samplers/client/local_client.py",
    "samplers/space/reply_model.py",
    "workers/dask/library.py",
}
LONGEST_MODULE = 400
OPTUNAS_FOLDER = "engine/study/"  # the one that may know what is not public in Optuna
OPTUNAS_PRIVATE = {
    "_backend",
    "_base_sampler",
    "_contains",
    "_file_path",
    "_fixed_params",
    "_relative_params",
    "_stop_flag",
    "_storage",
    "_study_id",
    "_suggest",
    "_thread_local",
    "_trial_id",
}
FEWEST_FILES, MOST_FILES = 3, 13  # a listing is read at one glance; `__init__` counts


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
HouseChecker = Callable[[Sequence[Source]], list[str]]


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


def private_optuna(source: Source) -> Iterator[str]:
    """Attributes of `self` are one's own, whatever they are called."""
    if source.path.startswith(OPTUNAS_FOLDER):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and node.attr in OPTUNAS_PRIVATE and ast.unparse(node.value) != "self":
            yield f"{source.path}:{node.lineno} uses {ast.unparse(node)}"
    for item in imports_of(source):
        if item.target.startswith("optuna.") and "._" in item.target:
            yield f"{source.path}:{item.line} imports {item.target}"


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
    private_optuna,
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
    (private_optuna, "engine/fleet/a.py", "def key(study): return study._study_id"),
    (private_optuna, "engine/run/a.py", "def stop(self): self.study._stop_flag = True"),
    (private_optuna, "samplers/a.py", "def known(trial): return trial._trial_id"),
    (private_optuna, "workers/a.py", "from optuna.storages.journal._file import get_lock_file"),
]
HONEST = [
    Source(path="__init__.py", text="from optuna_llm.engine import optimize_async"),
    Source(path="engine/a.py", text="import json\nimport anyio.abc\nfrom optuna import Trial\nfrom . import errors"),
    Source(path="samplers/client/a.py", text="import pydantic\nfrom ...engine.errors import OptunaLLMError"),
    Source(path="samplers/client/local_client.py", text="def start():\n    import xllamacpp"),
    Source(path="engine/study/a.py", text="def key(study): return study._study_id"),
    Source(path="workers/a.py", text="class A:\n    def storage(self): return self._storage"),
    Source(path="workers/a.py", text="from ..engine.records import Proposal\nx = 1\n" * (LONGEST_MODULE // 2)),
]


def project_sources() -> list[Source]:
    paths = [*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
    return [
        Source(path=path.relative_to(ROOT).as_posix(), text=path.read_text(encoding="utf-8")) for path in sorted(paths)
    ]


def class_names(source: Source) -> Iterator[tuple[str, str]]:
    """Classes at the top of a module, each with where it stands."""
    for node in source.tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name, f"{source.path}:{node.lineno}"


def constants(source: Source) -> Iterator[tuple[str, str]]:
    """Constants at the top of a module, each with its value as it is written."""
    for node in source.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [name for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
            yield from ((name.id, ast.unparse(node.value)) for name in names if name.id.isupper())


def with_several_meanings(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Names that stand for more than one thing."""
    meanings: dict[str, set[str]] = {}
    for name, meaning in pairs:
        meanings.setdefault(name, set()).add(meaning)
    return {name: found for name, found in meanings.items() if len(found) > 1}


def no_class_name_twice(sources: Sequence[Source]) -> list[str]:
    """One name, one class, in the whole package."""
    twice = with_several_meanings(pair for source in sources for pair in class_names(source))
    return [f"{name} in {', '.join(sorted(places))}" for name, places in twice.items()]


def no_constant_with_two_values(sources: Sequence[Source]) -> list[str]:
    twice = with_several_meanings(pair for source in sources for pair in constants(source))
    return [f"{name} is {' and '.join(sorted(values))}" for name, values in twice.items()]


def folders_of_few_files(sources: Sequence[Source]) -> list[str]:
    counts = Counter(source.path.rpartition("/")[0] for source in sources)
    del counts[""]  # the root holds the public names alone
    return [f"{name} has {n} files" for name, n in counts.items() if not FEWEST_FILES <= n <= MOST_FILES]


def no_circle_of_folders(sources: Sequence[Source]) -> list[str]:
    """Files at the top of `engine` and `samplers` stand below or above their folders, so only folders are compared."""
    paths = {source.path.rpartition("/")[0] for source in sources}
    inner = {path for path in paths if "/" in path}
    graph: dict[str, set[str]] = {path: set() for path in inner}
    for source in sources:
        folder = source.path.rpartition("/")[0]
        if folder in inner:
            targets = ("/".join(item.target.split(".")[1:3]) for item in imports_of(source))
            graph[folder] |= {target for target in targets if target in inner and target != folder}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


HOUSE_CHECKERS: Sequence[HouseChecker] = (
    no_class_name_twice,
    no_constant_with_two_values,
    folders_of_few_files,
    no_circle_of_folders,
)
HOUSE_OFFENDERS = [
    (no_class_name_twice, {"engine/a.py": "class Plan: ...", "samplers/view/b.py": "class Plan: ..."}),
    (no_constant_with_two_values, {"engine/a.py": "ABSENT = 0.5", "samplers/b.py": "ABSENT: float = math.nan"}),
    (no_constant_with_two_values, {"engine/a.py": "LOW, HIGH = 1, 2", "samplers/b.py": "HIGH = 3"}),
    (folders_of_few_files, {"engine/run/a.py": "", "engine/run/b.py": ""}),
    (folders_of_few_files, {f"engine/run/a{number}.py": "" for number in range(MOST_FILES + 1)}),
    (no_circle_of_folders, {"engine/run/a.py": "from ..fleet import b", "engine/fleet/b.py": "from ..run.c import d"}),
]
HONEST_HOUSE = {
    "engine/a.py": "class Plan: ...\nLIMIT = 3",
    "engine/b.py": "from .run.a import LIMIT\nLIMIT = 3",
    "engine/c.py": "from .a import Plan",
    "engine/run/a.py": "from ..fleet.a import b",
    "engine/run/b.py": "def f():\n    class Plan: ...",
    "engine/run/c.py": "from .. import a",
    "engine/fleet/a.py": "from ..a import Plan",
    "engine/fleet/b.py": "from .a import Plan",
    "engine/fleet/c.py": "",
}


def house(files: Mapping[str, str]) -> list[Source]:
    return [Source(path=path, text=text) for path, text in files.items()]


@pytest.mark.parametrize("checker", CHECKERS, ids=lambda checker: checker.__name__)
def test_the_project_keeps_the_rule(checker: Checker) -> None:
    assert [offence for source in project_sources() for offence in checker(source)] == []


@pytest.mark.parametrize(("checker", "path", "text"), OFFENDERS)
def test_an_offender_is_caught(checker: Checker, path: str, text: str) -> None:
    assert list(checker(Source(path=path, text=text)))


@pytest.mark.parametrize("source", HONEST, ids=lambda source: source.path)
def test_honest_code_is_let_through(source: Source) -> None:
    assert [offence for checker in CHECKERS for offence in checker(source)] == []


@pytest.mark.parametrize("checker", HOUSE_CHECKERS, ids=lambda checker: checker.__name__)
def test_the_house_keeps_the_rule(checker: HouseChecker) -> None:
    assert checker(project_sources()) == []


@pytest.mark.parametrize(("checker", "files"), HOUSE_OFFENDERS)
def test_an_offending_house_is_caught(checker: HouseChecker, files: Mapping[str, str]) -> None:
    assert checker(house(files))


def test_an_honest_house_is_let_through() -> None:
    assert [offence for checker in HOUSE_CHECKERS for offence in checker(house(HONEST_HOUSE))] == []


def test_every_rule_has_an_offender() -> None:
    assert {checker for checker, _, _ in OFFENDERS} == set(CHECKERS)
    assert {checker for checker, _ in HOUSE_OFFENDERS} == set(HOUSE_CHECKERS)


def test_the_whole_package_is_read() -> None:
    folders = {source.folder for source in project_sources()}
    assert folders == {"", *FOLDERS}
