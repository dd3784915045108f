"""The package as users get it: a wheel (`python tests/built.py FOLDER`), and an interpreter that has it."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from pages import ROOT


def copy_sources(target: Path) -> None:
    """The tree as a clone has it, without what was made in it."""
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "__pycache__", "site")
    shutil.copytree(ROOT, target, ignore=ignored)


def build_wheel(folder: Path) -> Path:
    """Build in `folder`, from a copy of another name: setuptools writes into the tree that it builds."""
    source, target = folder / "some fork", folder / "wheel"
    copy_sources(source)
    _pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", target, source)
    (built,) = target.glob("*.whl")
    return built


def install(wheel: Path, home: Path) -> Path:
    """Make an environment in `home`, and return its interpreter.

    Our dependencies are there by path: their `.pth` files do not count.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    _pip("--python", python, "install", "--no-deps", "--no-index", wheel)
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


def _pip(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *map(str, arguments)], check=True)


if __name__ == "__main__":
    build_wheel(Path(sys.argv[1]))
