"""`import optuna_llm` is cheap and silent: no litellm, no socket, little CPU. Each measured in a fresh interpreter."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DEAREST = 1.5
PAIRS = 5
PROBE = """
import json, sys
sockets = []
def watch(event, args):
    if event.startswith("socket."):
        sockets.append(event)
sys.addaudithook(watch)
{statement}
print(json.dumps({{"modules": sorted(sys.modules), "sockets": sockets}}))
"""


def run(source: str, **variables: str) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | variables
    return subprocess.run([sys.executable, "-c", source], env=env, capture_output=True, text=True, check=True).stdout


def probe(statement: str) -> dict[str, Any]:
    return dict(json.loads(run(PROBE.format(statement=statement))))


def cpu_seconds(statement: str, bytecode: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(statement, PYTHONPYCACHEPREFIX=str(bytecode))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_the_package_is_imported_by_the_probe() -> None:
    assert "optuna_llm.engine" in probe("import optuna_llm")["modules"]


@pytest.mark.parametrize("heavy", ["litellm", "openai", "pydantic", "xllamacpp", "sklearn", "dask"])
def test_the_import_leaves_out(heavy: str) -> None:
    assert heavy not in probe("import optuna_llm")["modules"]


def test_the_import_opens_no_socket() -> None:
    assert probe("import optuna_llm")["sockets"] == []


def test_the_probe_notices_a_socket() -> None:
    assert probe("import socket; socket.socket().close()")["sockets"] == ["socket.__new__"]


def test_the_import_costs_at_most_half_more_than_optuna(tmp_path: Path) -> None:
    """The minimum of alternating runs: noise only ever adds, and drift of the machine hits both.

    The first run compiles: pip does that for what it installs, and nobody did it for the checkout.
    """
    run("import optuna_llm", PYTHONPYCACHEPREFIX=str(tmp_path))
    statements = ("import optuna", "import optuna_llm")
    pairs = [[cpu_seconds(statement, tmp_path) for statement in statements] for _ in range(PAIRS)]
    optuna, ours = (min(column) for column in zip(*pairs, strict=True))
    assert ours <= DEAREST * optuna, f"optuna {optuna:.3f} s, optuna_llm {ours:.3f} s"
