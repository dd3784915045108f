"""Every snippet of README and the docs runs as it stands; what needs heavy libraries, in `make examples`."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, blocks, is_slow, pages, text_of
from postgres import create_database, environment
from slurm import slurm

RUNNER = ROOT / "tests" / "snippets.py"
RUN = {"set-up", "python", "console", "bash"}
PAGES = [page for page in pages() if any(block.language in RUN for block in blocks(text_of(page)))]
FAST = [page for page in PAGES if not is_slow(text_of(page))]

COMMAND = re.compile(
    r" *(\$ |(pip|uv|git|make|python3?|sbatch|srun|export|docker|curl|ollama|vllm|llama-server|optuna-llm) [\w.'\"-])"
)

Run = Callable[[str, Path], str]  # of a page and an empty folder; what is wrong, "" if nothing is


@contextmanager
def runner(*command: str | Path, env: dict[str, str]) -> Iterator[Run]:
    """A process that runs one page after the other."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def run(page: str, folder: Path) -> str:
            print(page, folder, sep="\t", file=stdin, flush=True)
            assert stdout.readline(), "the process that runs pages has ended"
            return (folder / "_result.txt").read_text()

        yield run
        stdin.close()


@pytest.fixture(scope="module")
def database(postgresql_server: Any) -> dict[str, str]:
    """The environment of who uses a database `tune`, which is empty."""
    return environment(create_database(postgresql_server, "tune"))


@pytest.fixture(scope="module")
def run(database: dict[str, str]) -> Iterator[Run]:
    with runner(sys.executable, RUNNER, env=os.environ | database) as run:
        yield run


@pytest.fixture(scope="module")
def run_installed(installed: Path, database: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """With the wheel, where a new user would be: no source tree, and the embedded model is the real one."""
    env = os.environ | database | slurm(tmp_path_factory.mktemp("slurm"))
    env.pop("PYTHONPATH", None)
    with runner(installed, RUNNER, "--whole", env=env) as run:
        yield run


@pytest.mark.parametrize("page", FAST)
def test_the_snippets_of_a_page_run(page: str, run: Run, tmp_path: Path) -> None:
    told = run(page, tmp_path)
    assert not told, told


@pytest.mark.examples
@pytest.mark.parametrize("page", PAGES)
def test_the_snippets_of_a_page_run_with_the_wheel(page: str, run_installed: Run, tmp_path: Path) -> None:
    told = run_installed(page, tmp_path)
    assert not told, told


def test_every_fence_of_every_page_is_run_or_is_no_code() -> None:
    of_language: dict[str, list[str]] = {}
    for page in pages():
        for block in blocks(text_of(page)):
            of_language.setdefault(block.language, []).append(f"{page}:{block.line}")
    run_by_nobody = {language: where for language, where in of_language.items() if language not in {*RUN, "text"}}
    assert run_by_nobody == {}
    assert of_language.keys() >= RUN


@pytest.mark.parametrize("page", pages())
def test_no_command_hides_in_a_fence_of_text(page: str) -> None:
    texts = [block for block in blocks(text_of(page)) if block.language == "text"]
    assert [line for block in texts for line in block.text.splitlines() if COMMAND.match(line)] == []


def test_a_command_is_known_from_what_it_prints() -> None:
    assert COMMAND.match("$ ls")
    assert COMMAND.match("  pip install optuna")
    assert COMMAND.match("optuna-llm show s.db s")
    assert not COMMAND.match("Report: 8 complete")


def test_what_is_left_out_here_says_what_it_needs_and_is_the_exception() -> None:
    snippets = [block for page in pages() for block in blocks(text_of(page)) if block.language in ("python", "console")]
    needy = [block for block in snippets if block.marker == "needs"]
    assert [block.line for block in needy if block.more is None] == []
    assert len(needy) <= len(snippets) / 20


def test_what_a_snippet_needs_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks("<!-- needs: sys, sh, no_such_thing, NO_SUCH_THING -->\n```python\n```\n")
    assert block.missing() == ["no_such_thing", "NO_SUCH_THING"]
    monkeypatch.setenv("NO_SUCH_THING", "1")
    assert block.missing() == ["no_such_thing"]


BAD = {
    "an exception": ("```python\nx = 1\n1 / 0\n```", "line 3"),
    "a name of another page": ("```python\nstudy.optimize(objective)\n```", "NameError"),
    "another exception": ("<!-- raises: KeyError -->\n```python\n1 / 0\n```", "not KeyError"),
    "no exception": ("<!-- raises: KeyError -->\n```python\nx = 1\n```", "not KeyError"),
    "another output": ("```python\nprint(1)\n```\n<!-- prints -->\n```text\n2\n```", "it prints"),
    "a language that nobody runs": ("```diff\n-x = 1\n+x = 2\n```", "nobody knows"),
    "other words around numbers": (
        "```python\nprint('2 of 3, best 0.25')\n```\n<!-- prints, but for numbers -->\n```text\n1 of 20\n```",
        "it prints",
    ),
    "an unknown program": ("```console\nno-such-program\n```", "nobody knows"),
    "an option that is not there": ("```console\noptuna-llm run --no-such-option\n```", "ends with 2"),
    "the network": ("```python\nimport socket\nsocket.getaddrinfo('example.com', 80)\n```", "beyond loopback"),
    "a warning": ("```python\nimport warnings\nwarnings.warn('old', DeprecationWarning)\n```", "DeprecationWarning"),
    "an exit": ("```python\nimport os\nos._exit(0)\n```", "before its time"),
    "an error at its end": ("<!-- until Ctrl-C -->\n```console\noptuna-llm show no.db s --watch\n```", "on Ctrl-C"),
    "a failed trial": (
        "```python\nimport optuna\nstudy = optuna.create_study()\n"
        "study.optimize(lambda trial: 1 / 0, n_trials=1, catch=ZeroDivisionError)\n```",
        "trials failed",
    ),
}


@pytest.mark.parametrize(("text", "reason"), BAD.values(), ids=BAD)
def test_a_page_fails_for(text: str, reason: str, run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{text}\n")
    assert reason in run(str(page), tmp_path)


BAD_IN_A_CLONE = {
    "an extra that is not there": ("pip install '.[no-such-extra]'", "does not provide the extra"),
    "a package that is not there": ("pip install no-such-package-of-optuna-llm", "ends with 1"),
    "a target that is not there": ("make no-such-target", "ends with 2"),
    "an example that is not there": ("python examples/no_such_example.py", "ends with 2"),
    "the second of two commands": ("pip install optuna && false", "ends with 1"),
    "the network": ("python -c 'import socket; socket.getaddrinfo(\"example.com\", 80)'", "beyond loopback"),
}


@pytest.mark.examples
@pytest.mark.parametrize(("command", "reason"), BAD_IN_A_CLONE.values(), ids=BAD_IN_A_CLONE)
def test_a_page_fails_with_the_wheel_for(command: str, reason: str, run_installed: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```console\n{command}\n```\n")
    assert reason in run_installed(str(page), tmp_path)


GOOD = """
<!-- set-up
START = 1
-->
```python title="beside.py"
print(__name__)
```

```console
python beside.py  # a file of the page
```

<!-- prints -->
```text
__main__
```

```console
export OPENAI_API_KEY=none
pip install optuna
```

1. In a list, and with a loop:

    ```python
    import asyncio
    import os

    await asyncio.sleep(0)
    print(START, "and more", os.environ["OPENAI_API_KEY"])
    ```

<!-- prints -->
```text
1 ... more none
```

```python
print("2 calls, 0.5 s, at {'lr': 1e-05}")
```

<!-- prints, but for numbers -->
```text
1 call, 12.75 s, at {'lr': 0.001}
```

<!-- needs: no_such_thing -->
```python
import no_such_thing
```
"""


def test_a_page_runs_as_one_script(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(GOOD)
    assert run(str(page), tmp_path) == ""


def test_nothing_is_left_out_of_a_whole_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(GOOD)
    with runner(sys.executable, RUNNER, "--whole", env=dict(os.environ)) as run:
        assert "needs what is not here: no_such_thing" in run(str(page), tmp_path)
