"""Runs the snippets of pages as they stand: `python tests/snippets.py [--whole] PAGE...`, or a server for the tests.

Each page gets a fork of one process that has imported what they need: as fresh as an interpreter, and as soon.
The models are answered here, and nothing beyond loopback is reached. With `--whole` the embedded model is the real one,
and a snippet that needs what is not here fails; otherwise it is left out.
"""

import ast
import asyncio
import atexit
import contextlib
import gc
import importlib
import inspect
import io
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import traceback
import types
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TextIO

import loopback
import optuna
from commands import Shell, SnippetError, commands, run_until_interrupted
from pages import ROOT, Block, blocks
from stand_ins import answer_models, answer_sweeps

EARLY: Final = (
    "litellm",
    "litellm.llms.github_copilot.per_user_auth",
    "openai.resources",
    "anyio._backends._asyncio",
    "optuna.importance",
    "pydantic",
)
LIMIT: Final = 600  # seconds; the embedded model shares its cores with other tests
UNWANTED: Final = (optuna.trial.TrialState.FAIL, optuna.trial.TrialState.RUNNING)


class Page:
    """One page that runs, as a script of its own would."""

    def __init__(self, text: str, folder: Path, *, whole: bool) -> None:
        self._blocks = blocks(text) if whole else [block for block in blocks(text) if not block.missing()]
        self._folder = folder
        self._shell = Shell(folder, whole=whole)
        self._script = (
            folder / "_page.py"
        )  # the page's Python, on the page's own lines: tracebacks and `inspect` use it
        self._script.write_text(_aligned(self._blocks), encoding="utf-8")
        self._main = types.ModuleType("__main__")
        self._main.__file__ = str(self._script)
        self._printed = ""
        self._unwanted: dict[int, int] = {}  # trials that failed so far, or were left behind, by study

    def run(self) -> None:
        sys.modules["__main__"] = self._main
        sys.path[0] = str(self._folder)
        os.chdir(self._folder)
        with asyncio.Runner() as runner:
            for block in self._blocks:
                try:
                    self._run_block(block, runner)
                except (Exception, SystemExit) as error:
                    raise SnippetError(f"the block on line {block.line}\n{_relevant(error)}") from error

    def _run_block(self, block: Block, runner: asyncio.Runner) -> None:
        if block.missing():
            raise SnippetError(f"it needs what is not here: {', '.join(block.missing())}")
        if block.title is not None:
            target = self._folder / block.title
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text, encoding="utf-8")
        elif block.language in ("python", "set-up"):
            self._run_python(block, runner)
        elif block.language == "console":
            self._run_console(block)
        elif block.language == "bash":
            self._run_batch_script(block)
        elif block.marker == "prints":
            _require_printed(block.text, self._printed)
        elif block.marker == "prints, but for numbers":
            _require_printed(_without_numbers(block.text), _without_numbers(self._printed))
        elif block.language != "text":
            raise SnippetError(f"nobody knows how to run a fence of {block.language!r}")

    def _run_python(self, block: Block, runner: asyncio.Runner) -> None:
        with _printed() as output:
            error = self._raised(block, runner)
        self._printed = output.getvalue()
        if block.marker == "raises" and type(error).__name__ != block.more:
            raise SnippetError(f"it raises {error!r}, not {block.more}")
        if block.marker != "raises" and error is not None:
            raise error
        self._require_trials(block)

    def _raised(self, block: Block, runner: asyncio.Runner) -> BaseException | None:
        source = "\n" * (block.line - 1) + block.text
        try:
            code = compile(source, str(self._script), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if code.co_flags & inspect.CO_COROUTINE:
                runner.run(eval(code, self._main.__dict__))
            else:
                exec(code, self._main.__dict__)
        except (Exception, SystemExit) as error:
            return error
        return None

    def _require_trials(self, block: Block) -> None:
        for value in list(self._main.__dict__.values()):
            if isinstance(value, optuna.Study):
                unwanted = value.get_trials(deepcopy=False, states=UNWANTED)
                known = self._unwanted.get(id(value), 0)
                self._unwanted[id(value)] = len(unwanted)
                if len(unwanted) > known and block.marker not in ("failed trials", "raises"):
                    raise SnippetError(f"trials failed or are left: {[trial.user_attrs for trial in unwanted]}")

    def _run_console(self, block: Block) -> None:
        run = run_until_interrupted if block.marker == "until Ctrl-C" else self._shell.run
        with _printed() as output:
            for command in commands(block.text):
                run(command)
        self._printed = output.getvalue()

    def _run_batch_script(self, block: Block) -> None:
        """As a job's shell would, but for `exec`; what is for the scheduler stands in comments."""
        for command in commands(block.text):
            self._shell.run(command.removeprefix("exec "))


def _aligned(all_blocks: list[Block]) -> str:
    lines: list[str] = []
    for block in all_blocks:
        if block.language in ("python", "set-up") and block.title is None:
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    return "\n".join(lines) + "\n"


def _require_printed(wanted: str, printed: str) -> None:
    lines = [line.rstrip() for line in printed.strip("\n").splitlines()]
    expected = [line.rstrip() for line in wanted.strip("\n").splitlines()]
    if not _matches("\n".join(expected).split("..."), "\n".join(lines)):
        raise SnippetError(f"it prints\n{printed}\nand not\n{wanted}")


def _without_numbers(text: str) -> str:
    """The text with one word for every number, and for the singular and the plural of what it counts."""
    return re.sub(r"\b(N [a-z-]+?)s?\b", r"\1", re.sub(r"\d[\d.,]*\d(?:e[+-]?\d+)?|\d(?:e[+-]?\d+)?", "N", text))


def _matches(parts: list[str], text: str) -> bool:
    """Whether `text` is the parts in their order, with anything between them."""
    first, *others = parts
    if not text.startswith(first):
        return False
    rest = text[len(first) :]
    if not others:
        return not rest
    *middle, last = others
    for part in middle:
        at = rest.find(part)
        if at < 0:
            return False
        rest = rest[at + len(part) :]
    return rest.endswith(last)


class _Tee(io.StringIO):
    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(text)
        return super().write(text)


@contextlib.contextmanager
def _printed() -> Iterator[_Tee]:
    with contextlib.redirect_stdout(_Tee(sys.stdout)) as output:
        yield output


def _relevant(error: BaseException) -> str:
    """The traceback without our own frames."""
    if isinstance(error, SnippetError):
        return str(error)
    told = traceback.TracebackException.from_exception(error)
    told.stack = traceback.StackSummary.from_list([frame for frame in told.stack if frame.filename != __file__])
    return "".join(told.format())


def run_page(page: str, folder: Path, *, whole: bool) -> str:
    """What is wrong with the snippets of a page, in a fork of this process; "" if nothing is."""
    told = folder / "_told.txt"
    told.write_text("it ended before its time, see _output.txt\n")
    child = os.fork()
    if child:
        return _result(child, folder)
    os.setpgid(0, 0)
    with (folder / "_output.txt").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    warnings.filterwarnings("error", module="__main__")  # libraries may warn of themselves
    os.environ["HOME"] = str(folder)  # what libraries keep for a user is the page's
    answer_models(local=not whole)
    text = (ROOT / page).read_text(encoding="utf-8")
    try:
        if "import wandb" in text and find_spec("wandb"):
            answer_sweeps()
        Page(text, folder, whole=whole).run()
    except SnippetError as error:
        told.write_text(f"{page}, {error}")
    else:
        told.write_text("")
    # As a script ends, with all that it left to `atexit`; but the imports of all pages need not be torn down by each.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(0)


def _result(child: int, folder: Path) -> str:
    def too_long(*_: Any) -> None:
        os.killpg(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT)
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    told = (folder / "_told.txt").read_text()
    if not told and status:
        told = f"it ended with the status {os.waitstatus_to_exitcode(status)}\n"
    return told + (f"\nIts output:\n{(folder / '_output.txt').read_text()[-4000:]}" if told else "")


def serve(*, whole: bool) -> None:
    """Run each page that a line of the standard input names, with its folder behind a tab; answer with a file's end."""
    for line in sys.stdin:
        page, folder = line.rstrip("\n").split("\t")
        told = run_page(page, Path(folder), whole=whole)
        Path(folder, "_result.txt").write_text(told)
        _say("failed" if told else "passed")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Exit code 1 where a page fails."""
    whole = "--whole" in arguments
    pages = [argument for argument in arguments if not argument.startswith("--")]
    os.environ |= loopback.SILENT
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1,::1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in EARLY:
            with contextlib.suppress(ImportError):  # other versions have other parts
                importlib.import_module(name)
    warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)  # NumPy's idle threads
    loopback.forbid_the_network()
    gc.freeze()  # or each fork's first collection would copy all of it
    if not pages:
        serve(whole=whole)
        return 0
    failures = 0
    for page in pages:
        folder = tempfile.mkdtemp()  # a context would end in the fork as well
        told = run_page(page, Path(folder), whole=whole)
        shutil.rmtree(folder)
        failures += bool(told)
        _say(f"{page}: {told or 'fine'}")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
