"""What a user installs: the wheel, without the source tree beside it."""

import subprocess
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("cli", "engine", "report", "samplers", "workers")
CODE = {
    "",
    *(path.parent.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("__init__.py")),
}
IMPORT_EVERYTHING = """
import importlib.metadata
import optuna_llm
missing = [name for name in optuna_llm.__all__ if not hasattr(optuna_llm, name)]
assert not missing, missing
assert optuna_llm.__version__ == importlib.metadata.version("optuna-llm")
print(optuna_llm.__file__)
"""


def test_every_folder_of_code_is_a_package_that_is_installed() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    assert named == sorted(".".join(filter(None, ["optuna_llm", *folder.split("/")])) for folder in CODE)


@pytest.fixture(scope="module")
def members(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(members: set[str]) -> None:
    folders = {str(PurePosixPath(name).parent) for name in members if ".dist-info/" not in name}
    assert folders == {str(PurePosixPath("optuna_llm", folder)) for folder in CODE}


@pytest.mark.slow
def test_the_wheel_holds_every_module(members: set[str]) -> None:
    sources = {
        PurePosixPath("optuna_llm", path.relative_to(ROOT).as_posix())
        for folder in CODE
        for path in (ROOT / folder).glob("*.py")
    }
    assert {PurePosixPath(name) for name in members if name.endswith(".py")} == sources


@pytest.mark.slow
def test_the_wheel_says_that_it_is_typed(members: set[str]) -> None:
    assert "optuna_llm/py.typed" in members


@pytest.mark.slow
def test_the_wheel_carries_the_licence(members: set[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in members)


@pytest.mark.slow
def test_the_wheel_runs_without_the_source_tree(installed: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [installed, "-I", "-c", IMPORT_EVERYTHING]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed.parent.parent)
