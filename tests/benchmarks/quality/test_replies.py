"""What replies on file say."""

import json
from pathlib import Path
from typing import Any

from benchmarks.quality.replies import Totals, totals


def test_the_replies_on_file_say_what_asking_took(tmp_path: Path) -> None:
    path = tmp_path / "recording-1.jsonl"
    first: dict[str, Any] = {"messages": [{}, {}]}
    again: dict[str, Any] = {"messages": [{}, {}, {}, {}]}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 4, "cost": 0.5}
    events = [
        {"kind": "header"},
        {"event": "request", "id": 1, "request": first},
        {"event": "reply", "id": 1, "reply": {"usage": usage, "latency": 1.5}},
        {"event": "request", "id": 2, "request": again},
        {"event": "reply", "id": 2, "reply": {"usage": usage, "latency": 0.5}},
        {"event": "request", "id": 3, "request": first},
        {"event": "error", "id": 3, "error": {}},
    ]
    whole = "".join(json.dumps(event) + "\n" for event in events)
    path.write_text(whole + '{"event": "reply", "id": 3, "cut', encoding="ascii")
    assert totals([path]) == Totals(
        calls=3,
        exchanges=1,
        reasks=1,
        prompt_tokens=20,
        completion_tokens=4,
        cached_tokens=8,
        cost=1.0,
        latency=2.0,
    )
