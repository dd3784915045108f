"""Source is shown without paths and secrets, and otherwise as it is."""

import pytest

from optuna_llm.engine.secrets import REMOVED
from optuna_llm.samplers.task.source import without_secrets

SECRETS = [
    'api_key = "hunter2"',
    'api_key: str | None = "hunter2"',
    "login(user='anna', password='hunter2')",
    '{"api_key": "hunter2"}',
    'os.environ["WANDB_API_KEY"] = "hunter2"',
    'os.getenv("HF_TOKEN", "hunter2")',
    'token = f"hunter2{n}"',
    'token = f"{n}{m!r:>{w}}hunter2"',
    'secret = b"hunter2"',
    'secret = """first\nhunter2"""',
    'key = SecretStr("hunter2") if (password := "hunter2") else None'.replace('SecretStr("hunter2")', "None"),
    'client = Client(\n    api_key=("hunter2"\n      "hunter2"),\n)',
    '# password = "hunter2"',
    'if password == "hunter2":\n    pass',
    'study.optimize(lambda trial: train(trial, token="hunter2"),',
    'x = "sk-hunter2hunter2hunter2"',
    "# see https://anna:hunter2@example.com/",
]
HARMLESS = [
    "half = n // 2 // 1",
    "rate = a/b/c",
    'scores = sorted(scores, key="accuracy")',
    'tokenizer = "bert"',
    'author = "Anna"',
    'model = make(token_count=3, name="gpt")',
    'trial.suggest_float("lr", 1e-5, 1e-1, log=True)  # per step',
    'text = f"{n} of {m}"',
    "größe = 'ä'  # später",
    'fit(passwords, n, "adam")',
]


@pytest.mark.parametrize("source", SECRETS)
def test_a_secret_is_removed(source: str) -> None:
    shown = without_secrets(source)
    assert "hunter2" not in shown
    assert REMOVED in shown or "<path>" in shown


@pytest.mark.parametrize("source", HARMLESS)
def test_what_is_no_secret_stays(source: str) -> None:
    assert without_secrets(source) == source


@pytest.mark.parametrize(
    "source", ['open("/home/anna/data.csv")', "# from /home/anna/data.csv", r'x = "C:\\anna\\b.csv"']
)
def test_a_path_is_removed(source: str) -> None:
    assert "anna" not in without_secrets(source)


def test_code_around_a_secret_is_kept() -> None:
    source = 'client = Client(api_key="hunter2", model="gpt")\nn = 3 // 2'
    assert without_secrets(source) == source.replace("hunter2", REMOVED)


def test_what_is_no_python_is_scrubbed_as_text() -> None:
    assert "anna" not in without_secrets("open('/home/anna/x' \n\n ''' /home/anna/y")


def test_control_characters_become_blanks() -> None:
    assert without_secrets("a = 1\x0c\n\tb = 2\n") == "a = 1 \n    b = 2\n"
