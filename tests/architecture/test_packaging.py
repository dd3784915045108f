"""What a user installs: the wheel, without the source tree beside it."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = {
    "",
    "engine",
    "engine/fleet",
    "engine/run",
    "engine/study",
    "samplers",
    "samplers/client",
    "samplers/guidance",
    "samplers/limits",
    "samplers/prompt",
    "samplers/recording",
    "samplers/space",
    "samplers/task",
    "samplers/view",
    "workers",
}
IMPORT_EVERYTHING = """
import optuna_llm
missing = [name for name in optuna_llm.__all__ if not hasattr(optuna_llm, name)]
assert not missing, missing
print(optuna_llm.__file__)
"""

pytestmark = pytest.mark.slow


def pip(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, in a folder of another name: setuptools writes into the tree that it builds."""
    source = tmp_path_factory.mktemp("source") / "some fork"
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    target = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", target, source)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def members(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the wheel, and our dependencies by path: their `.pth` files do not count there."""
    home = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    pip("--python", python, "install", "--no-deps", "--no-index", wheel)
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


def test_the_wheel_holds_the_package_and_nothing_else(members: set[str]) -> None:
    folders = {str(PurePosixPath(name).parent) for name in members if ".dist-info/" not in name}
    assert folders == {str(PurePosixPath("optuna_llm", folder)) for folder in CODE}


def test_the_wheel_holds_every_module(members: set[str]) -> None:
    sources = {
        PurePosixPath("optuna_llm", path.relative_to(ROOT).as_posix())
        for folder in CODE
        for path in (ROOT / folder).glob("*.py")
    }
    assert {PurePosixPath(name) for name in members if name.endswith(".py")} == sources


def test_the_wheel_says_that_it_is_typed(members: set[str]) -> None:
    assert "optuna_llm/py.typed" in members


def test_the_wheel_carries_the_licence(members: set[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in members)


def test_the_wheel_runs_without_the_source_tree(installed: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [installed, "-I", "-c", IMPORT_EVERYTHING]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed.parent.parent)
