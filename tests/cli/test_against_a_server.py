"""`check` and `run` against a model server on loopback."""

import json
import re
from pathlib import Path

import optuna
import pytest
from click.testing import CliRunner
from fault_server import FaultServer, Received, Scripted, completion, failure

from optuna_llm import LiteLLMClient
from optuna_llm.cli import main
from optuna_llm.cli.checking import WAYS
from optuna_llm.samplers.wire.ladder import MODES


@pytest.mark.parametrize(("status", "kind"), [(401, "AuthenticationError"), (404, "ModelNotFoundError")])
def test_check_says_what_is_wrong(status: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_A_TEST", "k")
    with FaultServer(failure(status)) as server:
        words = ["check", "openai/gpt-4o-mini", "--api-base", server.url, "--api-key-env", "KEY_OF_A_TEST", "--json"]
        result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"] == kind


def test_check_tells_what_a_run_would_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_A_TEST", "k")
    with FaultServer(completion('{"rationale": "a", "x": 0.5}')) as server:
        words = ["check", "openai/gpt-4o-mini", "--api-base", server.url, "--api-key-env", "KEY_OF_A_TEST", "--json"]
        found = json.loads(CliRunner().invoke(main, [*words, "--n-trials", "10"]).stdout)
    assert found["estimated_cost"] == pytest.approx(10 * found["cost"])


@pytest.mark.parametrize(
    ("n_trials", "words"), [("10", ("10 trials cost ", "10 trials take ")), ("1", ("1 trial costs ", "1 trial takes "))]
)
def test_check_says_that_its_estimates_are_lower_bounds(
    n_trials: str, words: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_OF_A_TEST", "k")
    with FaultServer(completion('{"rationale": "a", "x": 0.5}')) as server:
        _, said = checked(server, "--n-trials", n_trials)
    cost, time = (next(line for line in said.splitlines() if line.startswith(begin)) for begin in words)
    assert "a lower bound" in cost
    assert "a lower bound" in time
    assert "evaluations are not in it" in time


class Refusing(FaultServer):
    """Takes requests without schema, or without any of what it `refuses`, by the names of their fields."""

    def __init__(self, *refuses: str) -> None:
        super().__init__()
        self._refuses = refuses

    def answer(self, request: Received) -> Scripted:
        wanted = request.body.get("response_format", {}).get("type")
        for name in self._refuses:
            if name == wanted or name in request.body:
                return failure(400, f"{name} is not supported by this model: response_format, tools")
        document = '{"rationale": "a", "x": 0.5}'
        if "tools" not in request.body:
            return completion(document)
        call = {"id": "1", "type": "function", "function": {"name": "propose_configuration", "arguments": document}}
        return completion(None, message={"tool_calls": [call]})


def checked(server: FaultServer, *more: str) -> tuple[int, str]:
    """Exit code and output of `check`."""
    words = ["check", "openai/gpt-4o-mini", "--api-base", server.url, "--api-key-env", "KEY_OF_A_TEST", *more]
    result = CliRunner().invoke(main, words)
    return result.exit_code, result.stdout


@pytest.mark.parametrize(
    ("refuses", "way"),
    [
        ((), "json_schema"),
        (("json_schema",), "tool"),
        (("json_schema", "tools"), "json_object"),
        (("json_schema", "tools", "json_object"), "prompt"),
    ],
)
def test_check_says_what_holds_an_answer_to_its_schema(
    refuses: tuple[str, ...], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_OF_A_TEST", "k")
    with Refusing(*refuses) as server:
        code, said = checked(server, "--json")
    found = json.loads(said)
    assert (code, found["works"], found["structured_output"]) == (0, True, way)
    assert len(found["refused"]) == len(refuses)
    assert all(name in words for name, words in zip(refuses, found["refused"], strict=True))


def test_check_tells_people_which_ways_were_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_A_TEST", "k")
    with Refusing("json_schema", "tools") as server:
        code, said = checked(server)
    assert code == 0
    assert re.search(r"answers are held by +any JSON object will do, and words tell the schema \(json_object\)", said)
    assert "refused before (2)" in said
    assert "asking in mode 'json_object' from now on" in said


def test_every_mode_of_a_client_has_words() -> None:
    assert tuple(WAYS) == MODES


@pytest.mark.parametrize("answer", ["I cannot help with that.", '{"rationale": "a"}'])
def test_check_of_a_model_that_answers_anything_else_fails(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_A_TEST", "k")
    with FaultServer(completion(answer)) as server:
        code, said = checked(server)
        _, document = checked(server, "--json")
    assert code == 1
    assert "not as asked" in said
    assert json.loads(document)["works"] is False
    assert json.loads(document)["violation"]


LOGIN = Scripted(status=200, body=b"<html><title>Sign in</title></html>", content_type="text/html")
QUOTA = Scripted(
    status=429,
    body=json.dumps({"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}).encode(),
)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [(LOGIN, "ClientError", "is api_base right"), (QUOTA, "QuotaExceededError", "quota")],
)
def test_check_tells_a_login_page_and_a_spent_quota_apart(
    answer: Scripted, kind: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_OF_A_TEST", "k")
    with FaultServer(answer) as server:
        asked = ["check", "openai/gpt-4o-mini", "--api-base", server.url, "--api-key-env", "KEY_OF_A_TEST", "--json"]
        result = CliRunner().invoke(main, asked)
    said = json.loads(result.stdout)
    assert (result.exit_code, said["error"]) == (1, kind)
    assert words in said["message"]


def test_check_says_that_nobody_is_there() -> None:
    result = CliRunner().invoke(main, ["check", "openai/gpt-4o-mini", "--api-base", "http://127.0.0.1:9/v1"])
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "api_base" in result.output


MODULE = """
import optuna
search_space = {"x": optuna.distributions.FloatDistribution(0, 1)}
def objective(trial):
    return trial.suggest_float("x", 0, 1)
"""


def test_run_goes_to_the_total_and_report_writes_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_of_run.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("KEY_OF_A_TEST", "k")
    path = str(tmp_path / "study.journal")
    closed: list[LiteLLMClient] = []
    real = LiteLLMClient.aclose

    async def noted(client: LiteLLMClient) -> None:
        closed.append(client)
        await real(client)

    monkeypatch.setattr(LiteLLMClient, "aclose", noted)
    replies = [completion(json.dumps({"rationale": "a", "x": x})) for x in (0.1, 0.4, 0.7, 0.9)]
    with FaultServer(*replies) as server:
        words = ["run", "toy_of_run:objective", "--storage", path, "--study-name", "s", "--model", "openai/gpt-4o-mini"]
        words += ["--api-base", server.url, "--api-key-env", "KEY_OF_A_TEST", "--total-trials", "3", "--json"]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout.splitlines()[-1])["n_complete"] == 3
        assert len(closed) == 1  # by who made it
        again = CliRunner().invoke(main, words)
        assert json.loads(again.stdout.splitlines()[-1])["n_complete"] == 0
    pytest.importorskip("plotly")
    page = tmp_path / "report.html"
    written = CliRunner().invoke(main, ["report", path, "s", "-o", str(page)])
    assert (written.exit_code, written.stdout.strip()) == (0, str(page))
    assert "<html" in page.read_text()


@pytest.mark.parametrize(
    ("options", "ended", "failed", "code"),
    [
        (["--catch", "--n-trials", "3"], "n_trials", 3, 0),
        (["--catch", "--n-trials", "9", "--max-failure-rate", "0.5"], "max_failure_rate", 5, 0),
        (["--catch", "--budget-requests", "2"], "budget", 2, 0),
        (["--n-trials", "3"], None, 1, 1),
    ],
)
def test_an_objective_that_raises_ends_the_run_unless_that_is_caught(
    options: list[str], ended: str | None, failed: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy_that_raises.py").write_text(
        'import optuna\nsearch_space = {"x": optuna.distributions.FloatDistribution(0, 1)}\n'
        'def objective(trial):\n    raise ValueError("broken")\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("KEY_OF_A_TEST", "k")
    path = str(tmp_path / "study.journal")
    replies = [completion(json.dumps({"rationale": "a", "x": n / 10})) for n in range(9)]
    with FaultServer(*replies) as server:
        words = ["run", "toy_that_raises:objective", "--storage", path, "--study-name", "s", *options, "--json"]
        words += ["--model", "openai/gpt-4o-mini", "--api-base", server.url, "--api-key-env", "KEY_OF_A_TEST"]
        result = CliRunner().invoke(main, words)
    assert result.exit_code == code, result.output
    if ended is not None:
        report = json.loads(result.stdout.splitlines()[-1])
        assert (report["stop_reason"], report["n_failed"]) == (ended, failed)
    shown = CliRunner().invoke(main, ["show", path, "s", "--json"])
    assert len(json.loads(shown.stdout)["trials"]) == failed


def test_the_dashboard_is_served_with_notes_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("optuna_dashboard")
    served: list[object] = []
    monkeypatch.setattr(library, "run_server", lambda storage, **where: served.append(where))
    url = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(study_name="s", storage=url)
    study.add_trial(optuna.trial.create_trial(value=0.5))
    result = CliRunner().invoke(main, ["dashboard", url, "--port", "8123"])
    assert (result.exit_code, served) == (0, [{"host": "127.0.0.1", "port": 8123}])
    notes = [name for name in study._storage.get_study_system_attrs(study._study_id) if name.startswith("dashboard:")]
    assert notes


def test_a_local_model_takes_no_address() -> None:
    result = CliRunner().invoke(main, ["check", "local", "--api-base", "http://127.0.0.1:9/v1"])
    assert result.exit_code == 2
    assert "runs in this process" in result.output
