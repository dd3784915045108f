"""What is pinned for the checks agrees with what pyproject.toml admits."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import optuna_llm

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NEWEST, LOWEST, EXAMPLES = "constraints.txt", "lowest.txt", "constraints-examples.txt"


def requirements(*groups: str) -> Iterator[Requirement]:
    """Our own dependencies and extras, and those of some groups."""
    lists = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    for names in [*lists, *(PROJECT["dependency-groups"][group] for group in groups)]:
        for name in names:
            if isinstance(name, str):
                yield Requirement(name)
            else:
                yield from map(Requirement, PROJECT["dependency-groups"][name["include-group"]])


def pins(file: str) -> dict[str, Requirement]:
    lines = [line for line in (ROOT / file).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in map(Requirement, lines)}


def version(pin: Requirement) -> Version:
    (only,) = pin.specifier
    return Version(only.version)


def floor(requirement: Requirement) -> Version:
    (bound,) = [part for part in requirement.specifier if part.operator == ">="]
    return Version(bound.version)


def test_the_package_says_the_version_that_is_built() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "optuna_llm.__version__"}
    assert str(Version(optuna_llm.__version__)) == optuna_llm.__version__


def extras_named(text: str) -> set[str]:
    """The extras of this package that a text tells users to install."""
    lists = re.findall(r"(?:optuna-llm|\.)\[([a-z, -]+)\]", text)
    return {extra.strip() for several in lists for extra in several.split(",")}


@pytest.mark.parametrize(
    "pattern", ["README.md", "docs/**/*.md", "engine/**/*.py", "report/**/*.py", "samplers/**/*.py", "workers/**/*.py"]
)
def test_each_extra_that_is_named_exists(pattern: str) -> None:
    named = {extra for path in ROOT.glob(pattern) for extra in extras_named(path.read_text(encoding="utf-8"))}
    assert named <= PROJECT["project"]["optional-dependencies"].keys()


def test_extras_are_found_where_they_are_named() -> None:
    assert extras_named("run `pip install \"optuna-llm[dask, local]\"`, or pip install '.[cli]'") == {
        "dask",
        "local",
        "cli",
    }


@pytest.mark.parametrize("file", [NEWEST, LOWEST, EXAMPLES])
def test_each_pin_is_one_version_of_a_package_from_the_index(file: str) -> None:
    assert [
        str(pin) for pin in pins(file).values() if pin.url or [part.operator for part in pin.specifier] != ["=="]
    ] == []


GROUPS = {EXAMPLES: {"examples"}, NEWEST: PROJECT["dependency-groups"].keys() - {"examples"}}


@pytest.mark.parametrize("file", GROUPS)
def test_all_that_is_installed_for_checks_is_pinned_within_its_bounds(file: str) -> None:
    newest = pins(file)
    wanted = list(requirements(*GROUPS[file]))
    assert [str(each) for each in wanted if canonicalize_name(each.name) not in newest] == []
    assert [str(each) for each in wanted if version(newest[canonicalize_name(each.name)]) not in each.specifier] == []


def test_the_lowest_pins_are_the_floors_of_our_dependencies() -> None:
    lowest = pins(LOWEST)
    floors = {each.name: floor(each) for each in requirements()}
    assert {name: version(lowest[canonicalize_name(name)]) for name in floors} == floors
