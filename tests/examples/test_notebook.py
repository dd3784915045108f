"""The notebook runs in a real kernel, from its first cell to its last, and shows what it says."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from example_runs import EXAMPLES, LIMIT, SCHEMA_MODEL, changed, environment
from jupyter_client.manager import KernelManager

NOTEBOOK = EXAMPLES / "notebook.ipynb"


@contextmanager
def kernel(folder: Path, *, sources: bool) -> Iterator[Any]:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(folder), env=environment(sources=sources))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=LIMIT)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def shown(client: Any, code: str) -> str:
    """Run a cell; what it prints, and the text of what it shows."""
    texts: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        content = message["content"]
        texts.append(content.get("text") or content.get("data", {}).get("text/plain") or "")

    reply = client.execute_interactive(code, timeout=LIMIT, output_hook=hear)
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(texts)


def cells() -> list[dict[str, Any]]:
    """Those of code."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["metadata"]["kernelspec"]["name"]) == (4, "python3")
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_every_cell_runs_with_a_function(tmp_path: Path) -> None:
    run_cells(tmp_path, {"MODEL": SCHEMA_MODEL}, sources=True)


@pytest.mark.examples
def test_every_cell_runs_as_it_stands(installed: Path, tmp_path: Path) -> None:
    assert installed.samefile(sys.executable), "the kernel is of this interpreter: `make examples` has the wheel in it"
    run_cells(tmp_path, {}, sources=False)


def run_cells(folder: Path, constants: dict[str, Any], *, sources: bool) -> None:
    first, *others = ("".join(cell["source"]) for cell in cells())
    with kernel(folder, sources=sources) as client:
        printed = [shown(client, code) for code in (changed(first, constants), *others)]
    assert printed[2] == "4 trials complete, ended by n_trials\n"
    assert re.match(r"Best: \d+ with \{'payment': .*'months': \d+\}\n", printed[3])
    assert len(re.findall(r"^\d", printed[3], re.MULTILINE)) == 4


def test_the_outputs_that_it_keeps_are_of_one_whole_run() -> None:
    kept = cells()
    assert [cell["execution_count"] for cell in kept] == list(range(1, len(kept) + 1))
    assert {output["output_type"] for cell in kept for output in cell["outputs"]} == {"stream", "execute_result"}
    assert "4 trials complete" in json.dumps(kept)
    assert "site-packages" not in json.dumps(kept)  # paths of the machine where it ran
