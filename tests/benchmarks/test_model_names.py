import datetime as dt
from pathlib import Path

import pytest

from benchmarks.model_names import Named, main, named_here, names_in, problem_of, problems

TODAY = dt.date(2030, 1, 1)
PRICES = {"input_cost_per_token": 1.0, "output_cost_per_token": 2.0}
TABLE = {
    "old": {"litellm_provider": "openai", "deprecation_date": "2030-02-01", "successor_model": "new", **PRICES},
    "gone": {"litellm_provider": "openai", "deprecation_date": "2029-12-31", **PRICES},
    "later": {"litellm_provider": "openai", "deprecation_date": "2030-06-01", **PRICES},
    "new": {"litellm_provider": "openai", **PRICES},
}


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("openai/new", None),
        ("openai/later", None),
        ("openai/old", "its provider retires it on 2030-02-01 in favour of new"),
        ("openai/gone", "its provider retires it on 2029-12-31"),
        ("openrouter/openai/old", "its provider retires it on 2030-02-01 in favour of new"),
        ("openai/unheard-of", "LiteLLM's table does not know it"),
        ("azure/new", "LiteLLM's table does not know it"),
    ],
)
def test_a_name_is_to_change_if_it_is_unknown_or_retired_within_notice(model: str, problem: str | None) -> None:
    assert problem_of(model, TABLE, TODAY) == problem


def test_names_are_found_in_prose_code_and_tables_and_only_hosted_ones() -> None:
    text = """
| OpenAI | `openai/old` | | `openrouter/openai/new` |
LiteLLMClient("gemini/flash-1.5", api_base="https://example.org/openai/v1") or openai/later.
`hosted_vllm/Qwen/Qwen3-8B`, "openai/local", openrouter/VENDOR/MODEL,
see https://github.com/openai/openai-python and litellm/openai/x
"""
    assert [(name.model, name.line) for name in names_in(text, "a.md")] == [
        ("openai/old", 2),
        ("openrouter/openai/new", 2),
        ("gemini/flash-1.5", 3),
        ("openai/later", 3),
    ]


def test_each_place_is_named() -> None:
    named = [Named(model=model, path="a.md", line=3) for model in ("openai/new", "openai/gone")]
    assert problems(named, TABLE, TODAY) == ["a.md:3: openai/gone: its provider retires it on 2029-12-31"]


def test_pages_scripts_and_sources_are_read_and_the_changelog_and_tests_are_not(tmp_path: Path) -> None:
    for path in ("README.md", "CHANGELOG.md", "docs/a/b.md", "examples/c.py", "samplers/client/d.py", "tests/e.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("'openai/old'")
    assert {name.path for name in named_here(tmp_path)} == {
        "README.md",
        "docs/a/b.md",
        "examples/c.py",
        "samplers/client/d.py",
    }


@pytest.mark.parametrize(("model", "code"), [("openai/new", 0), ("openai/unheard-of", 1)])
def test_the_exit_code_says_whether_something_is_to_change(
    model: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class LiteLLM:
        model_cost = TABLE

    monkeypatch.setattr("benchmarks.model_names.load", LiteLLM)
    monkeypatch.setattr("benchmarks.model_names.named_here", lambda: [Named(model=model, path="a.md", line=1)])
    assert main() == code
    assert f"1 places; {code} are to change" in capsys.readouterr().out
