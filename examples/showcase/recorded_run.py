"""What is kept of a run beside the exchanges with the model: what each evaluation gave, and when what happened."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from .score import BEGAN, REPLY, Event

EXCHANGES: Final = "exchanges.jsonl"
RUN: Final = "run.json"
RIVALS: Final = "tpe.json"
WITH_EXAMPLE: Final = "tpe-example.json"  # TPE again, given the example that the task's text names
RECORDED: Final = Path(__file__).parent / "recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What was asked, and the reply; `menu` says that the model was offered whole candidates."""

    messages: Sequence[Mapping[str, str]]
    menu: bool
    text: str

    @property
    def rationale(self) -> str:
        """Why the model answered so."""
        return str(json.loads(self.text).get("rationale", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was evaluated, and what came of it."""

    value: float
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """`evaluations` are in the order of the trials' numbers, `events` in the order in which they happened.

    `made_with` says on what the values depend: the text by its digest. `how` is a sentence on how the model was asked,
    where that is no matter of course.
    """

    model: str
    how: str = ""
    date: str
    made_with: Mapping[str, str]
    evaluations: Sequence[Evaluation]
    events: Sequence[Event]


def write_run(folder: Path, run: RecordedRun) -> None:
    document = asdict(run) | {"events": [[event.seconds, event.kind, event.number] for event in run.events]}
    (folder / RUN).write_text(_lines(document), encoding="utf-8")


def read_run(folder: Path) -> RecordedRun:
    document = json.loads((folder / RUN).read_text(encoding="utf-8"))
    return RecordedRun(
        **document
        | {
            "evaluations": [Evaluation(**evaluation) for evaluation in document["evaluations"]],
            "events": [
                Event(seconds=seconds, kind=kind, number=number) for seconds, kind, number in document["events"]
            ],
        }
    )


def read_exchanges(folder: Path) -> dict[int, Exchange]:
    """Answered requests, by their numbers."""
    lines = [json.loads(line) for line in (folder / EXCHANGES).read_text(encoding="utf-8").splitlines()[1:]]
    asked = {line["id"]: line["request"] for line in lines if line["event"] == "request"}
    return {
        line["id"]: Exchange(
            messages=asked[line["id"]]["messages"],
            menu="candidate" in asked[line["id"]]["schema"]["properties"],
            text=line["reply"]["text"],
        )
        for line in lines
        if line["event"] == "reply"
    }


def trials_of_replies(events: Sequence[Event]) -> dict[int, int]:
    """Which trial each reply became, by their numbers; one that was refused became none, and has another after it."""
    became: dict[int, int] = {}
    last = 0
    for event in events:
        if event.kind == REPLY:
            last = event.number
        elif event.kind == BEGAN:
            became[last] = event.number
    return became


def rationales(folder: Path) -> list[str]:
    """Why the model proposed each trial, by the trials' numbers."""
    exchanges = read_exchanges(folder)
    became = trials_of_replies(read_run(folder).events)
    return [exchanges[reply].rationale for reply in sorted(became, key=became.__getitem__)]


def trials_from_menus(folder: Path) -> set[int]:
    """The trials that the model chose from a menu, by their numbers."""
    exchanges = read_exchanges(folder)
    return {trial for reply, trial in trials_of_replies(read_run(folder).events).items() if exchanges[reply].menu}


def _lines(document: Mapping[str, Any]) -> str:
    """JSON with one line for each thing in it, so that a change is seen as one."""
    parts = []
    for name, value in document.items():
        match value:
            case dict():
                inner = ",\n".join(f"    {json.dumps(str(key))}: {json.dumps(item)}" for key, item in value.items())
                parts.append(f'  "{name}": {{\n{inner}\n  }}')
            case list():
                inner = ",\n".join(f"    {json.dumps(item)}" for item in value)
                parts.append(f'  "{name}": [\n{inner}\n  ]')
            case _:
                parts.append(f'  "{name}": {json.dumps(value)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"
