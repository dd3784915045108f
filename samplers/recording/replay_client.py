"""A recording in place of a model: the same requests get the same replies, in the order in which they were recorded."""

import asyncio
import bisect
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from ...engine.errors import UsageError
from ..client.errors import ClientError
from ..client.prices import Prices
from ..client.protocol import Reply, Request, Usage
from .recording_client import COMPARED, HEADER, KINDS, Record, cleaned, dump, error_record, request_key, request_record

WAIT_SECONDS: Final = 30.0
SHOWN: Final = 60  # characters of a difference
_LEAD: Final = 15  # characters before it


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One recorded request; `key` is equal for equal ones. `cancelled`: nobody waited for its end."""

    id: int
    request: Record
    key: str
    cancelled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a request ended, after the first `arrivals` requests had come: with a reply, or the record of an error."""

    id: int
    outcome: Reply | Record
    arrivals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A recording, read: requests in the order in which they came, endings in that in which their callers had them."""

    asked: Sequence[Asked]
    endings: Sequence[Ending]
    schema_per_ask: bool = True


class ReplayClient:
    """Answers from the recording at `path`, which a `RecordingClient` wrote; needs no network.

    A request gets the reply or error of the first unused recorded request that equals it in messages, schema,
    max_tokens and seed, and gets it once every request has come that had come by then in the recording. Another request
    is a `ClientError` that says where it differs. A prompt shows the study as it is when the prompt is made, so a run
    finds its replies only if its trials end in the recorded order, and between the same replies. One worker always does
    with the same objective; with several, two replies within the milliseconds from a reply to the next request leave
    it to chance, and a run that goes the other way is refused. The last trials, which no request follows, may come in
    another order.

    All calls must come from one event loop at a time. The file is read here, once, so call this before the event loop
    runs; a file that is no recording is a `UsageError`. A copy starts from the beginning.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._recording = read(self.path)
        self._rewind()

    def __repr__(self) -> str:
        return f"ReplayClient({self.path.name!r})"

    @property
    def schema_per_ask(self) -> bool:
        """What the recorded client said."""
        return self._recording.schema_per_ask

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_recording": self._recording}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._rewind()

    def _rewind(self) -> None:
        self._play = _Play(self._recording, self.path.name)

    async def complete(self, request: Request) -> Reply:
        asked, released = self._play.arrive(cleaned(request_record(request)))
        try:
            outcome = await released
        except BaseException:
            self._play.leave(asked)
            raise
        return _raised(outcome)

    async def prices(self) -> Prices:
        """A replay costs nothing; what the recorded replies say that they cost is counted as it was."""
        return Prices(prompt=0.0, completion=0.0)

    async def aclose(self) -> None:
        """Nothing is held."""


Released: TypeAlias = asyncio.Future[Reply | Record]


class _Play:
    """How far a replay has come. Decides at once, and never awaits."""

    def __init__(self, recording: Recording, name: str) -> None:
        self._name = name
        self._asked = recording.asked
        self._endings = recording.endings
        self._turns = {ending.id: turn for turn, ending in enumerate(recording.endings)}
        self._unused: dict[str, list[int]] = {}  # positions in `asked`, by key
        for position, asked in enumerate(recording.asked):
            self._unused.setdefault(asked.key, []).append(position)
        self._positions = {asked.id: position for position, asked in enumerate(recording.asked)}
        self._come: set[int] = set()
        self._all_come = 0  # so many of the first requests have come
        self._turn = 0
        self._waiting: dict[int, Released] = {}
        self._timer: asyncio.TimerHandle | None = None

    def arrive(self, request: Record) -> tuple[Asked, Released]:
        unused = self._unused.get(request_key(request))
        if not unused:
            raise ClientError(self._unknown(request))
        asked = self._asked[unused.pop(0)]
        released: Released = asyncio.get_running_loop().create_future()
        self._waiting[asked.id] = released
        self._come.add(self._positions[asked.id])
        while self._all_come in self._come:
            self._all_come += 1
        self._watch()
        released.get_loop().call_soon(self._advance, asked)  # once it waits too, so that all resume in order
        return asked, released

    def leave(self, asked: Asked) -> None:
        """Nobody waits any more: it holds nothing up, and may be asked again unless it was cancelled when recorded."""
        self._waiting.pop(asked.id, None)
        if not asked.cancelled:
            bisect.insort(self._unused[asked.key], self._positions[asked.id])
        self._watch()

    def _advance(self, newest: Asked) -> None:
        turn = self._turns.get(newest.id, self._turn)
        if turn < self._turn:  # it was cancelled when its turn came
            self._release(self._endings[turn])
        while self._turn < len(self._endings) and self._endings[self._turn].arrivals <= self._all_come:
            self._turn += 1
            self._release(self._endings[self._turn - 1])
        self._watch()

    def _release(self, ending: Ending) -> None:
        released = self._waiting.pop(ending.id, None)
        if released is not None and not released.done():
            released.set_result(ending.outcome)

    def _watch(self) -> None:
        """Give up unless something comes in time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if any(id_ in self._turns for id_ in self._waiting):
            self._timer = asyncio.get_running_loop().call_later(WAIT_SECONDS, self._give_up)

    def _give_up(self) -> None:
        ids = [id_ for id_ in self._waiting if id_ in self._turns]
        missing = self._asked[self._all_come]
        message = (
            f"the replay of {self._name} stands still: recorded request {missing.id} has not come within "
            f"{WAIT_SECONDS:g} s, and in the recording it came before the reply to request {ids[0]}; the run differs "
            "from the recorded one, or its objective takes longer than that"
        )
        for released in [self._waiting[id_] for id_ in ids]:
            if not released.done():
                released.set_exception(ClientError(message))
                released.exception()  # nobody may be left to fetch it

    def _unknown(self, request: Record) -> str:
        left = [self._asked[position] for unused in self._unused.values() for position in unused]
        if not left:
            return f"all {len(self._asked)} requests of {self._name} are used: the run asks more than the recorded one"
        text = request_key(request)
        nearest = max(left, key=lambda asked: (_shared(asked.key, text), -asked.id))
        used = " (those that equal it are used)" if request_key(request) in self._unused else ""
        return (
            f"{self._name} holds no unused request like this one{used}; the nearest is request {nearest.id}, which "
            f"differs in {difference(nearest.request, request)}"
        )


def _raised(outcome: Reply | Record) -> Reply:
    """The reply; an error is raised under its own class if it is one of ours."""
    if isinstance(outcome, Reply):
        return outcome
    if "retry_after" not in outcome:
        raise ClientError(f"the recorded client raised {outcome['type']}: {outcome['message']}")
    kind = KINDS.get(outcome["type"], ClientError)
    details = {name: outcome.get(name) for name in ("retry_after", "status", "code")}
    raise kind(outcome["message"], **details)


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the common beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def difference(recorded: Record, asked: Record) -> str:
    """Where two requests first differ, and a few words of both."""
    messages = zip(recorded["messages"], asked["messages"], strict=False)
    for index, (old, new) in enumerate(messages):
        for name in (*old, *new):
            if old.get(name) != new.get(name):
                return f"messages[{index}][{name!r}], {_line(str(old.get(name)), str(new.get(name)))}"
    if len(recorded["messages"]) != len(asked["messages"]):
        return f"the number of messages: recorded {len(recorded['messages'])}, asked {len(asked['messages'])}"
    for name in COMPARED:
        old, new = (dump(request[name], sort_keys=True) for request in (recorded, asked))
        if old != new:
            return f"{name}, {_line(old, new)}"
    return "nothing"


def _line(recorded: str, asked: str) -> str:
    old, new = (text.split("\n") for text in (recorded, asked))
    same = _shared(old, new)
    first, second = ("".join(lines[same : same + 1]) for lines in (old, new))
    start = max(0, _shared(first, second) - _LEAD)
    return f"line {same + 1}: recorded {_excerpt(first, start)}, asked {_excerpt(second, start)}"


def _excerpt(text: str, start: int) -> str:
    before, after = "..." * (start > 0), "..." * (len(text) > start + SHOWN)
    return repr(before + text[start : start + SHOWN] + after)


def read(path: Path) -> Recording:
    """The recording in a file; a last line that was cut off by a crash is left out."""
    try:
        lines = list(_documents(path.read_bytes(), path))
    except OSError as error:
        raise UsageError(f"the recording {str(path)!r} cannot be read: {error}") from error
    if not lines or not isinstance(lines[0], dict) or lines[0].get("kind") != HEADER["kind"]:
        raise UsageError(f"{str(path)!r}, line 1: not the header of a recording made by RecordingClient")
    if lines[0].get("schema_version") != HEADER["schema_version"]:
        raise UsageError(f"{str(path)!r}, line 1: schema_version {lines[0].get('schema_version')!r} is not known here")
    reader = _Reader()
    for number, document in enumerate(lines[1:], 2):
        try:
            reader.take(document)
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(f"{str(path)!r}, line {number}: no event of a recording ({error!r})") from error
    return replace(reader.recording(), schema_per_ask=bool(lines[0].get("schema_per_ask", True)))


def _documents(data: bytes, path: Path) -> Iterator[Any]:
    *whole, rest = data.split(b"\n")
    for number, line in enumerate(whole, 1):
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{str(path)!r}, line {number}: no JSON document ({error})") from error
    try:
        last = [json.loads(rest)]
    except ValueError:
        last = []
    yield from last


class _Reader:
    """Takes the events one by one."""

    def __init__(self) -> None:
        self._asked: dict[int, Asked] = {}
        self._endings: dict[int, Ending] = {}

    def take(self, event: Any) -> None:
        match event:
            case {"event": "request", "id": int(id_), "request": dict(request)} if id_ not in self._asked:
                self._asked[id_] = _asked(id_, request)
            case {"id": int(id_)} if id_ not in self._asked:
                raise ValueError(f"there is no request {id_}")
            case {"event": "reply", "id": int(id_), "reply": dict(reply)} if id_ not in self._endings:
                self._end(id_, _reply(reply))
            case {"event": "error", "id": int(id_), "error": {"type": str(), "message": str()} as error} if (
                id_ not in self._endings
            ):
                self._end(id_, error)
            case {"event": "returned", "id": int(id_)}:
                self._end(id_, self._endings.pop(id_).outcome)
            case {"event": "cancelled", "id": int(id_)}:
                self._endings.pop(id_, None)
                self._asked[id_] = replace(self._asked[id_], cancelled=True)
            case _:
                raise ValueError("unknown, incomplete or out of place")

    def _end(self, id_: int, outcome: Reply | Record) -> None:
        self._endings[id_] = Ending(id=id_, outcome=outcome, arrivals=len(self._asked))

    def recording(self) -> Recording:
        """Requests that the recording does not follow to their end come last, as errors."""
        for asked in self._asked.values():
            if asked.id not in self._endings and not asked.cancelled:
                self._end(asked.id, error_record(ClientError(f"the recording ends before the reply to {asked.id}")))
        return Recording(asked=tuple(self._asked.values()), endings=tuple(self._endings.values()))


def _asked(id_: int, request: Mapping[str, Any]) -> Asked:
    match request:
        case {"messages": [*messages], "schema": dict(), "max_tokens": int(), "seed": int() | None}:
            if all(isinstance(message, dict) for message in messages):
                return Asked(id=id_, request=request, key=request_key(request))
    raise ValueError("messages, schema, max_tokens and seed of a request are needed")


def _reply(reply: Mapping[str, Any]) -> Reply:
    if not isinstance(reply.get("text"), str):
        raise ValueError("a reply has a text")
    usage = reply.get("usage")
    return Reply(**{**reply, "usage": usage and Usage(**usage)})
