"""The import is cheap and silent: no heavy library, no socket, little CPU. Each measured in a fresh interpreter."""

import json
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.throughput.import_cost import import_ratios

WIDE_RATIO = 3.0  # 1.3 on a machine at rest, and noise was seen to add a fifth; a heavy library at import is beyond it
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


def probe(statement: str) -> dict[str, Any]:
    source = PROBE.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def test_the_package_is_imported_by_the_probe() -> None:
    assert "optuna_llm.engine" in probe("import optuna_llm")["modules"]


@pytest.mark.parametrize("heavy", ["litellm", "openai", "pydantic", "xllamacpp", "sklearn", "dask"])
def test_the_import_leaves_out(heavy: str) -> None:
    assert heavy not in probe("import optuna_llm")["modules"]


def test_the_import_opens_no_socket() -> None:
    assert probe("import optuna_llm")["sockets"] == []


def test_the_probe_notices_a_socket() -> None:
    assert probe("import socket; socket.socket().close()")["sockets"] == ["socket.__new__"]


def test_the_import_costs_not_much_more_than_optuna() -> None:
    """A bound that holds on a busy machine too; the benchmark has the narrow one."""
    assert min(import_ratios(3)) < WIDE_RATIO
