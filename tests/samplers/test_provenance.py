"""The record of a proposal stays small, and adds up over several calls."""

import json

from hypothesis import given
from hypothesis import strategies as st

from optuna_llm import Reply, Usage
from optuna_llm.samplers.provenance import provenance

COUNTS = {"complete": 1, "pruned": 2, "failed": 3, "running": 4}


def record(**changes: object) -> dict[str, object]:
    given = {"model": "m", "role": "r", "rationale": "why", "counts": COUNTS, "repairs": (), "replies": ()}
    return provenance(**{**given, **changes})  # type: ignore[arg-type]


def replies(*usages: Usage | None) -> list[Reply]:
    return [Reply(text="", usage=usage, latency=0.5) for usage in usages]


@given(st.text(max_size=500), st.lists(st.text(max_size=400), max_size=100), st.text(max_size=300))
def test_the_record_is_under_four_kilobytes(rationale: str, repairs: list[str], model: str) -> None:
    made = record(rationale=rationale, repairs=repairs, model=model)
    assert len(json.dumps({**made, "staleness": 10**6, "run": "x" * 12})) < 4096


def test_usage_adds_up_and_what_is_unknown_stays_unknown() -> None:
    known = Usage(prompt_tokens=10, completion_tokens=2, cached_tokens=1, written_tokens=3, cost=0.5)
    free = Usage(prompt_tokens=1, completion_tokens=1)
    assert record(replies=replies(known, known))["usage"] == {
        "prompt_tokens": 20,
        "completion_tokens": 4,
        "cached_tokens": 2,
        "written_tokens": 6,
        "cost": 1.0,
    }
    assert record(replies=replies(known, free))["usage"]["cost"] is None  # type: ignore[index]
    assert record(replies=replies(known, None))["usage"] is None


def test_calls_beyond_the_first_are_reasks() -> None:
    assert record(replies=replies(None, None, None))["reasks"] == 2
    assert record()["reasks"] == 0


def test_a_later_call_for_the_same_trial_is_added() -> None:
    usage = Usage(prompt_tokens=10, completion_tokens=2, cost=0.5)
    first = record(replies=replies(usage), repairs=["a"])
    second = record(replies=replies(usage), repairs=["b"], earlier=first, rationale="later")
    assert second["calls"] == 2
    assert second["reasks"] == 0
    assert second["repairs"] == ["a", "b"]
    assert second["rationale"] == "why"
    assert second["usage"]["cost"] == 1.0  # type: ignore[index]
