"""What the design documents name is in the source: files, names and their members, parameters, texts, options, values.

A span in backticks names something of the source, and nothing else: formulas, values and examples stand without them,
or in blocks. So each span has to be found, and so has each class that a drawing shows:

    engine/run/schedule.py, engine/run/    a path, from the root or from the document's folder
    Schedule, propose_one(), MAX_OFFERED   a module, class, function, parameter, field or constant
    Limits.max_in_flight, pace.pace_within a member of a class, or of a module
    ContextPolicy(tokens=), prefetch=      parameters
    MAX_OFFERED = 5                        a constant and its value
    "menu", staleness                      a text that stands in the source as a whole: a strategy, a key of a record
    --workers                              an option of a command; in blocks that run a benchmark too
    study.ask, optuna.Trial                something of Optuna, or of another library that is imported quickly
    python -m benchmarks.quality           a module to run
"""

import ast
import builtins
import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import optuna
import pytest

ROOT = Path(__file__).resolve().parents[2]
DESIGN = ROOT / "docs" / "design"
NAMES: Final = {
    "01_mathematical_foundations.md",
    "02_llm_integration_strategies.md",
    "03_implementation_architecture.md",
    "04_structured_output_design.md",
    "05_context_building_strategy.md",
}
FOLDERS: Final = ("benchmarks", "cli", "engine", "report", "samplers", "workers")
LIBRARIES: Final = {"anyio", "asyncio", "concurrent", "gc", "optuna"}  # those that take no time to import
OPTUNAS: Final[Mapping[str, Any]] = {  # what the documents call them
    "study": optuna.Study,
    "trial": optuna.Trial,
    "storage": optuna.storages.BaseStorage,
    "Study": optuna.Study,
    "Trial": optuna.Trial,
}
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
DRAWN = re.compile(r"\b(?:[A-Z][A-Za-z]+\.[a-z_]\w*|(?:[A-Z][a-z]+){2,})\b")  # `Lanes.storage`, `StudyDoor`
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
PATH = re.compile(r"[\w.-]+(?:/[\w.-]*)+|\w+\.py")
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")
CALLED = re.compile(r"([A-Za-z_][\w.]*)\((.*)\)")
VALUED = re.compile(r"([A-Z][A-Z_0-9]*) = (.+)")
KEYWORD = re.compile(r"([a-z_]\w*)=")
TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)


@dataclass(slots=True)
class Source:
    """All that the source defines.

    `members` of classes and modules, by their names (several may share one); `bases` of classes; `parameters` of
    functions and classes; `values` of constants; `texts` that stand in it as a whole.
    """

    members: dict[str, set[str]] = field(default_factory=dict)
    bases: dict[str, set[str]] = field(default_factory=dict)
    parameters: dict[str, set[str]] = field(default_factory=dict)
    values: dict[str, list[Any]] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)

    def has(self, name: str) -> bool:
        """Whether anything is called so."""
        return name in self.members or any(
            name in names for names in (*self.members.values(), *self.parameters.values())
        )

    def has_member(self, owner: str, name: str) -> bool:
        """Whether a class (or one that it derives from) or a module called `owner` has such a member."""
        if name in self.members.get(owner, ()) or name in self.parameters.get(owner, ()):
            return True
        return any(self.has_member(base, name) for base in self.bases.get(owner, ()))

    def read(self, name: str, tree: ast.Module) -> None:
        """Take in a module."""
        self._take_in(name, tree.body)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                self.texts.add(node.value)

    def _take_in(self, owner: str, body: list[ast.stmt]) -> None:
        names = self.members.setdefault(owner, set())
        for node in body:
            match node:
                case ast.ClassDef():
                    names.add(node.name)
                    self.bases.setdefault(node.name, set()).update(
                        base.id for base in map(_bare, node.bases) if isinstance(base, ast.Name)
                    )
                    self._take_in(node.name, node.body)
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    names.add(node.name)
                    arguments = node.args
                    listed = {one.arg for one in (*arguments.args, *arguments.kwonlyargs, *arguments.posonlyargs)}
                    self.parameters.setdefault(owner if node.name == "__init__" else node.name, set()).update(listed)
                    names.update(_set_on_self(node))
                case ast.Assign() | ast.AnnAssign() if targets := _targets(node):
                    names.update(targets)
                    self._take_in_values(targets, node.value)
                case ast.If() | ast.Try() | ast.With():
                    self._take_in(owner, node.body)

    def _take_in_values(self, targets: list[str], value: ast.expr | None) -> None:
        try:
            literal = ast.literal_eval(value) if value is not None else None
        except ValueError:
            return
        if isinstance(literal, tuple) and len(literal) == len(targets) > 1:
            for target, one in zip(targets, literal, strict=True):
                self.values.setdefault(target, []).append(one)
        else:
            self.values.setdefault(targets[0], []).append(literal)


def _bare(base: ast.expr) -> ast.expr:
    return base.value if isinstance(base, ast.Subscript) else base


def _targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    flat = [one for target in targets for one in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return [one.id for one in flat if isinstance(one, ast.Name)]


def _set_on_self(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            yield node.attr


@cache
def source() -> Source:
    """The package and its benchmarks, and the names of the tests."""
    found = Source()
    for path in [ROOT / "__init__.py", *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]:
        name = path.parent.name if path.name == "__init__.py" else path.stem
        found.read(name, ast.parse(path.read_text(encoding="utf-8")))
    for path in (ROOT / "tests").rglob("test_*.py"):
        found.members.setdefault("tests", set()).update(TEST.findall(path.read_text(encoding="utf-8")))
    return found


def is_known(span: str, folder: Path) -> bool:
    """Whether the source, or Optuna, has what a span of a document in `folder` names."""
    if span.startswith("python -m "):
        module = span.split()[2].replace(".", "/")
        return (ROOT / f"{module}.py").exists() or (ROOT / module / "__main__.py").exists()
    if span.startswith("--"):
        return span in source().texts
    if span.startswith('"') and span.endswith('"'):
        return span[1:-1] in source().texts
    if valued := VALUED.fullmatch(span):
        return ast.literal_eval(valued[2]) in source().values.get(valued[1], [])
    if PATH.fullmatch(span):
        return _is_path(span, folder)
    if called := CALLED.fullmatch(span):
        return _is_name(called[1]) and all(_takes(called[1], keyword) for keyword in KEYWORD.findall(called[2]))
    if span.endswith("=") and KEYWORD.fullmatch(span):
        return any(span[:-1] in names for names in source().parameters.values())
    return bool(DOTTED.fullmatch(span)) and _is_name(span)


def _is_path(span: str, folder: Path) -> bool:
    return any((base / span).exists() for base in (ROOT, folder))


def _is_name(dotted: str) -> bool:
    first, *rest = dotted.split(".")
    if first in OPTUNAS and rest:
        return _has(OPTUNAS[first], rest)
    if first in LIBRARIES:
        return _is_importable(dotted)
    if not rest:
        return source().has(first) or first in source().texts or hasattr(builtins, first) or _is_optunas(first)
    owners = [first, *rest[:-1]]
    return all(source().has_member(owner, name) for owner, name in zip(owners, rest, strict=True))


def _is_importable(dotted: str) -> bool:
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        return _has(module, parts[length:])
    return False


def _is_optunas(name: str) -> bool:
    places = (optuna, optuna.trial, optuna.samplers, optuna.distributions, optuna.storages)
    return any(hasattr(place, name) for place in places)


def _has(thing: Any, names: list[str]) -> bool:
    for name in names:
        if not hasattr(thing, name):
            return False
        thing = getattr(thing, name)
    return True


def _takes(dotted: str, keyword: str) -> bool:
    name = dotted.split(".")[-1]
    return source().has_member(name, keyword) or keyword in source().parameters.get(name, ())


def unknown(text: str, folder: Path = DESIGN) -> list[str]:
    """The spans of a document that name nothing, the options and classes in its blocks that are nowhere."""
    spans = SPAN.findall(FENCE.sub("", text))
    blocks = [block for block in FENCE.findall(text) if "python -m benchmarks" in block]
    options = [option for block in blocks for option in OPTION.findall(block)]
    drawn = [name for block in FENCE.findall(text) if block.startswith("```text") for name in DRAWN.findall(block)]
    pieces = [piece for span in spans for piece in _pieces(span)]
    return [piece for piece in dict.fromkeys([*pieces, *options, *drawn]) if not is_known(piece, folder)]


def _pieces(span: str) -> list[str]:
    """A command names its module and its options."""
    if not span.startswith("python -m "):
        return [span]
    return [" ".join(span.split()[:3]), *OPTION.findall(span)]


def test_the_five_documents_are_there() -> None:
    assert {path.name for path in DESIGN.glob("*.md")} == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_what_a_design_document_names_is_in_the_source(name: str) -> None:
    assert unknown((DESIGN / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_design_document_names_much_of_the_source(name: str) -> None:
    assert len(set(SPAN.findall(FENCE.sub("", (DESIGN / name).read_text(encoding="utf-8"))))) > 30


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_design_document_is_read_in_a_quarter_of_an_hour(name: str) -> None:
    assert 150 <= len((DESIGN / name).read_text(encoding="utf-8").splitlines()) <= 300


def test_the_end_of_a_prompt_that_is_shown_is_that_of_the_golden_file() -> None:
    text = (DESIGN / "05_context_building_strategy.md").read_text(encoding="utf-8")
    [shown] = [block for block in FENCE.findall(text) if "# In flight" in block]
    golden = (ROOT / "tests/samplers/prompt/golden/in_flight.txt").read_text(encoding="utf-8")
    assert " ".join(golden.split()).endswith(" ".join(shown.strip("`").removeprefix("text").split()))


def test_what_the_careless_function_is_told_is_what_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = FENCE.findall((DESIGN / "04_structured_output_design.md").read_text(encoding="utf-8"))
    at, code = next((at, block) for at, block in enumerate(blocks) if block.startswith("```python"))
    verbosity = optuna.logging.get_verbosity()
    try:
        exec(compile(code.strip("`").removeprefix("python"), "04_structured_output_design.md", "exec"), {})
    finally:
        optuna.logging.set_verbosity(verbosity)
    assert capsys.readouterr().out.strip() == blocks[at + 1].strip("`").removeprefix("text").strip()


@pytest.mark.parametrize(
    "gone",
    [
        "engine/run/timetable.py",
        "engine/rooms/",
        "Timetable",
        "propose_two()",
        "Schedule.rewind",
        "pace.pace_without",
        "ContextPolicy(letters=)",
        "lookahead=",
        "SCHEMA_VERSION = 0",
        "NO_SUCH_LIMIT = 6",
        '"regions"',
        "test_that_is_not_there",
        "--regions",
        "study.asks",
        "optuna.Experiment",
        "python -m benchmarks.colour",
        "python -m benchmarks.quality --colour",
        "x + 1",
    ],
)
def test_a_name_that_is_gone_is_noticed(gone: str) -> None:
    assert len(unknown(f"Here is `{gone}`.")) == 1


def test_an_option_that_is_gone_is_noticed_in_a_block() -> None:
    assert unknown("```console\npython -m benchmarks.quality --colour --trials 20\n```") == ["--colour"]


def test_a_class_that_is_gone_is_noticed_in_a_drawing() -> None:
    drawing = "```text\nStudy --StudyDoor.rewind--> Snapshot --TimeTable--> Schedule.start\n```"
    assert unknown(drawing) == ["StudyDoor.rewind", "TimeTable"]


@pytest.mark.parametrize(
    "there",
    [
        "engine/run/schedule.py",
        "engine/run/",
        "Schedule",
        "propose_one()",
        "Schedule.stop_reason",
        "Limits.max_in_flight",
        "Evidence.known",
        "pace.pace_within",
        "schedule",
        "ContextPolicy(tokens=)",
        "prefetch=",
        "SCHEMA_VERSION = 1",
        "LEASE_REFRESH = 15.0",
        '"menu"',
        "staleness",
        "--workers",
        "study.ask",
        "optuna.Trial",
        "FrozenTrial",
        "test_the_five_documents_are_there",
        "python -m benchmarks.quality --workers 8",
        "python -m benchmarks.throughput.window",
    ],
)
def test_what_is_there_is_found(there: str) -> None:
    assert unknown(f"Here is `{there}`.") == []
