"""What replies on file say."""

import json
from pathlib import Path
from typing import Any

from optuna.distributions import IntDistribution

from benchmarks.quality.replies import Totals, totals
from optuna_llm.samplers.space.menu_reply import menu_schema
from optuna_llm.samplers.space.space import make_space


def test_the_replies_on_file_say_what_asking_took(tmp_path: Path) -> None:
    path = tmp_path / "recording-1.jsonl"
    free = {"properties": {"x": {"type": "integer"}}}
    first: dict[str, Any] = {"messages": [{}, {}], "schema": free}
    again: dict[str, Any] = {"messages": [{}, {}, {}, {}], "schema": free}
    menu: dict[str, Any] = {
        "messages": [{}, {}],
        "schema": menu_schema(make_space({"x": IntDistribution(0, 9)}), 3, optional=True),
    }
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 4, "cost": 0.5}
    events = [
        {"kind": "header"},
        {"event": "request", "id": 1, "request": first},
        {"event": "reply", "id": 1, "reply": {"text": '{"x": 0}', "usage": usage, "latency": 1.5}},
        {"event": "request", "id": 2, "request": again},
        {"event": "reply", "id": 2, "reply": {"text": '{"x": 1}', "usage": usage, "latency": 0.5}},
        {"event": "request", "id": 4, "request": menu},
        {"event": "reply", "id": 4, "reply": {"text": '{"candidate": 0}', "usage": usage, "latency": 0.5}},
        {"event": "request", "id": 5, "request": menu},
        {"event": "reply", "id": 5, "reply": {"text": '{"candidate": 3}', "usage": usage, "latency": 0.5}},
        {"event": "request", "id": 3, "request": first},
        {"event": "error", "id": 3, "error": {}},
    ]
    whole = "".join(json.dumps(event) + "\n" for event in events)
    path.write_text(whole + '{"event": "reply", "id": 3, "cut', encoding="ascii")
    assert totals([path]) == Totals(
        calls=5,
        exchanges=2,
        reasks=1,
        prompt_tokens=40,
        completion_tokens=8,
        cached_tokens=16,
        cost=2.0,
        latency=3.0,
    )
