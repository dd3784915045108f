"""Every example runs with the wheel, as it stands, and shows what it promises: `make examples`."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from example_runs import EXAMPLES, run

from optuna_llm.samplers.client.local_client import find_model, servers

NEEDS = {  # heavy libraries that the checks do not install
    "libraries/torch_pruning.py": "torch",
    "libraries/lightning_pruning.py": "lightning",
    "libraries/mlflow_callback.py": "mlflow",
    "libraries/instructor_client.py": "instructor",
}
ANSWERED = {  # the embedded model takes seconds a trial; here a function answers in its place
    "ask_tell.py",
    "compare_with_tpe.py",
    "drop_in.py",
    "http_service.py",
    "libraries/lightgbm_pruning.py",
    "libraries/optuna_search_cv.py",
    "libraries/scikit_learn.py",
}
SHOWS = {
    "ask_tell.py": r"(?s)trials \[.*trials \[.*trials \[",
    "async_objective.py": r"(?m)^Report: \d+ complete, \d+ pruned, 0 failed",
    "budget_and_resume.py": r"8 of 8 trials",
    "compare_with_tpe.py": r"(?m)^ *local, 1 run(  -?\d\.\d{4}){3}$",
    "demo.py": r"(?m)^Best: trial \d+, which reads \d\d\.\d% of the images right",
    "drop_in.py": r"(?m)^ +\d+  \d\.\d{4}  ",
    "http_service.py": r"^\d+ trials. The best costs \d+\.\d\d a day",
    "llama_server.py": r"(?m)^Best of 6: \d+\.\d tokens/s with \{'n_threads': \d",
    "llm_pipeline.py": r"(?m)^Best of 6: \d+% right with \{'wording': ",
    "record_and_replay.py": r"The same proposals\.",
    "several_processes.py": r"(?m)^Best of 8: \d+\.\d\d m",
    "libraries/instructor_client.py": r"^Best of 6: \d+ with \{'rows': \d+, 'columns': \d+\}$",
    "libraries/lightgbm_pruning.py": r"(?m)^ +\d+  (COMPLETE|PRUNED) +\d+ rounds",
    "libraries/lightning_pruning.py": r"^\d complete, \d pruned\. Best: \d\.\d{3}, \{'lr': ",
    "libraries/mlflow_callback.py": r"(?m)^ *trial 0  +\d+\.\d{3}  \{'x'",
    "libraries/optuna_search_cv.py": r"(?m)^Accuracy on data that no trial has seen: 0\.\d+$",
    "libraries/scikit_learn.py": r"(?m)^\d+ trials complete, \d+ pruned$",
    "libraries/torch_pruning.py": r"^\d+ complete, \d+ pruned\. Best: 0\.\d{3}, \{'lr': ",
}
SCRIPTS = sorted(
    path.relative_to(EXAMPLES).as_posix() for folder in (".", "libraries") for path in (EXAMPLES / folder).glob("*.py")
)


def test_all_scripts_are_known() -> None:
    assert sorted(SHOWS) == SCRIPTS


@pytest.mark.examples
@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_runs_with_the_wheel(
    name: str, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = NEEDS.get(name)
    if library is not None and find_spec(library) is None:
        pytest.skip(f"{library} is not installed: `make examples` has it")
    if name == "libraries/instructor_client.py":  # it names a provider's model; which address that has, says this
        server = servers.get(find_model())
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.address}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
    assert re.search(SHOWS[name], run(name, tmp_path, python=installed, answered=name in ANSWERED))
