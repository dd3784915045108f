"""Commands of the benchmarks in README and docs: each is one that its program understands. To run them takes hours."""

import argparse
import logging
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from typing import Final, NoReturn

import pytest
from pages import ROOT

from benchmarks.quality.experiment import BUILDERS
from benchmarks.quality.methods import METHODS

PAGES: Final = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
COMMAND: Final = re.compile(r"python -m (benchmarks[\w.]*)((?:[^`\n]|\n(?!\n|```|python|#))*)")
WITHOUT_OPTIONS: Final = ("benchmarks.throughput.window",)

pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")  # what tests have imported


class Understood(Exception):
    """The options of a command, in place of what it would do."""


def commands() -> Iterator[tuple[str, str]]:
    """Each module with its options, once; a line may end with a comment."""
    found = {}
    for page in PAGES:
        for module, options in COMMAND.findall(re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))):
            found[module, " ".join(options.split("#")[0].split())] = page
    yield from sorted({*found} - {("benchmarks.quality", "")})  # that one is mentioned, and is no command


@pytest.fixture(autouse=True)
def verbosity() -> Iterator[None]:
    """Programs set what is logged for their whole process, which here goes on."""
    loggers = [logging.getLogger(name) for name in ("optuna", "optuna_llm")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def options_of(module: str, options: str, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    parse = argparse.ArgumentParser.parse_args

    def understood(self: argparse.ArgumentParser, *given: list[str] | None) -> NoReturn:
        raise Understood(parse(self, *given))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", understood)
    monkeypatch.setattr(sys, "argv", [module, *(part for part in shlex.split(options) if part != "...")])
    with pytest.raises(Understood) as found:
        runpy.run_module(module, run_name="__main__", alter_sys=False)
    read: argparse.Namespace = found.value.args[0]
    return read


@pytest.mark.parametrize(("module", "options"), [case for case in commands() if case[0] not in WITHOUT_OPTIONS])
def test_a_command_of_a_page_is_understood(module: str, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    elided = module == "benchmarks.quality" and "..." in options
    read = vars(options_of(module, options.replace("--out ...", "") + " --out DIRECTORY" * elided, monkeypatch))
    if module == "benchmarks.quality":
        assert {*read["tasks"]} <= {*BUILDERS}
        assert {*read["methods"]} <= {*METHODS}


def test_pages_have_commands_of_the_benchmarks() -> None:
    found = [*commands()]
    assert len(found) > 25
    assert all(not options for module, options in found if module in WITHOUT_OPTIONS)


@pytest.mark.parametrize(
    "broken",
    [
        ("benchmarks.throughput", "--repeat-often 3"),
        ("benchmarks.quality", "--suite nothing"),
        ("benchmarks.quality.by_hand", "next"),
    ],
)
def test_a_command_that_is_not_understood_fails(broken: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        options_of(*broken, monkeypatch)
