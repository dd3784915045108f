"""What a reader types: commands of ours in this process, all others in a real shell, in a copy of the repository."""

import importlib
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Final

from built import copy_sources

import optuna_llm.cli

TESTS: Final = Path(__file__).resolve().parent
IN_A_CLONE: Final = ("make", "pip", "python")
FROM_MAKE: Final = {"CONSTRAINTS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}  # where `make` runs the tests


class SnippetError(Exception):
    """A snippet that does not do what its page says."""


class Clone:
    """A clone, and an environment of its own that has by path what this interpreter has.

    There pip finds every dependency that it can find without an index, and `make` its set-up done. No Python
    of that environment reaches beyond loopback.
    """

    def __init__(self, home: Path) -> None:
        self._sources, environment = home / "optuna-llm", home / "venv"
        copy_sources(self._sources)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
        (packages,) = environment.glob("lib/python*/site-packages")
        (packages / "here.pth").write_text(
            f"import sys; sys.path.append({str(TESTS)!r}); import loopback; loopback.forbid_the_network()\n"
            f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
        )
        pip = environment / "bin" / "pip"
        pip.write_text('#!/bin/sh\nexec python -m pip "$@"\n')
        pip.chmod(0o700)
        (environment / ".installed-demo").touch()  # as after the Makefile's set-up
        inherited = {name: value for name, value in os.environ.items() if name not in {*FROM_MAKE, "PYTHONPATH"}}
        self._env = inherited | {
            "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "VENV": str(environment),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads: no isolation
            "PIP_NO_INDEX": "1",
        }

    def run(self, command: str) -> int:
        """The exit code. Raises `SnippetError` where pip warns: an extra that is not there is no error to it."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._sources,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        sys.stdout.write(done.stdout)
        if warning := re.search(r"^WARNING: .*", done.stdout, re.MULTILINE):
            raise SnippetError(f"{command!r} says {warning[0]!r}")
        return done.returncode


class Shell:
    """Where the commands of one page run; the page's files are in `folder`.

    What runs in a clone is left out unless `whole`.
    """

    def __init__(self, folder: Path, *, whole: bool) -> None:
        self._folder, self._whole = folder, whole

    @cached_property
    def _clone(self) -> Clone:
        return Clone(self._folder / "_clone")

    def run(self, command: str) -> None:
        """Raises `SnippetError` for a command that fails, or that nobody knows how to run."""
        importlib.invalidate_caches()
        code: object = 0
        match shlex.split(command, comments=True):
            case ["export", assignment]:
                name, _, os.environ[name] = assignment.partition("=")
            case ["optuna-llm", *arguments]:
                code = _exit_code(lambda: optuna_llm.cli.main(arguments, prog_name="optuna-llm"))
            case ["python", script, *arguments] if (self._folder / script).is_file():
                before, sys.argv = sys.argv, [script, *arguments]
                code = _exit_code(lambda: runpy.run_path(script, run_name="__main__"))
                sys.argv = before
            case [program, *_] if program in IN_A_CLONE:
                code = self._clone.run(command) if self._whole else 0
            case words:
                raise SnippetError(f"nobody knows how to run {words[0]!r}")
        if code:
            raise SnippetError(f"{command!r} ends with {code!r}")


def run_until_interrupted(command: str) -> None:
    """Press Ctrl-C once a command of ours has said something; it must end well."""
    program, *arguments = shlex.split(command, comments=True)
    if program != "optuna-llm":
        raise SnippetError(f"nobody knows how to end {program!r}")
    here = {"dashboard": {"port": 0}}  # any that is free, where the snippet names none
    script = f"from optuna_llm.cli import main; main({arguments!r}, 'optuna-llm', default_map={here!r})"
    started = [sys.executable, "-c", script]
    with subprocess.Popen(started, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said += process.stdout.read()
    if process.returncode:
        raise SnippetError(f"{command!r} ends with {process.returncode} on Ctrl-C, having said\n{said}")
    sys.stdout.write(said)


def commands(text: str) -> Iterator[str]:
    """The lines of a snippet, each with those that it goes on in, and without those that only comment."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


def _exit_code(call: Callable[[], object]) -> object:
    try:
        call()
    except SystemExit as end:
        return end.code
    return 0
