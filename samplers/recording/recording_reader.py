"""Reads a recording: its requests in the order in which they came, and how each of them ended."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...engine.errors import UsageError
from ..client.errors import ClientError
from ..client.protocol import Reply, Usage
from .exchange_records import HEADER, Record, error_record, request_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a request ended: with a reply or the record of an error, once `arrivals` requests had come."""

    outcome: Reply | Record
    arrivals: int
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One recorded request, and its ending unless it was cancelled; `key` is equal for equal requests."""

    id: int
    key: str
    ending: Ending | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A recording as it was read: exchanges in the order in which their requests came."""

    exchanges: Sequence[Exchange]
    schema_per_ask: bool


def read_recording(path: Path) -> Recording:
    """The recording in a file; a last line that was cut off by a crash is left out."""
    try:
        header, *events = [*_documents(path.read_bytes(), path)] or [None]
    except OSError as error:
        raise UsageError(f"the recording {str(path)!r} cannot be read: {error}") from error
    if not isinstance(header, dict) or header.get("kind") != HEADER["kind"]:
        raise UsageError(f"{str(path)!r}, line 1: not the header of a recording made by RecordingClient")
    if header.get("schema_version") != HEADER["schema_version"]:
        raise UsageError(f"{str(path)!r}, line 1: schema_version {header.get('schema_version')!r} is not known here")
    reader = _Reader()
    for line, event in enumerate(events, 2):
        try:
            reader.read(event)
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(f"{str(path)!r}, line {line}: no event of a recording ({error!r})") from error
    return Recording(exchanges=reader.exchanges(), schema_per_ask=bool(header.get("schema_per_ask", True)))


def _documents(data: bytes, path: Path) -> Iterator[Any]:
    *lines, last = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{str(path)!r}, line {number}: no JSON document ({error})") from error
    try:
        document = json.loads(last)
    except ValueError:
        return
    yield document


class _Reader:
    """Takes in the events of a recording one by one."""

    def __init__(self) -> None:
        self._requests: dict[int, Record] = {}
        self._endings: dict[int, Ending] = {}
        self._cancelled: set[int] = set()
        self._places = itertools.count()

    def read(self, event: Any) -> None:
        match event:
            case {"event": "request", "id": int(id_), "request": dict(request)} if id_ not in self._requests:
                _check_request(request)
                self._requests[id_] = request
            case {"id": int(id_)} if id_ not in self._requests:
                raise ValueError(f"there is no request {id_}")
            case {"event": "returned", "id": int(id_)}:
                self._end(id_, self._endings.pop(id_).outcome)
            case {"event": "cancelled", "id": int(id_)}:
                self._cancelled.add(id_)
            case {"id": int(id_)} if id_ in self._endings:
                raise ValueError(f"request {id_} has ended before")
            case {"event": "reply", "id": int(id_), "reply": {"text": str()} as reply}:
                self._end(id_, Reply(**{**reply, "usage": reply.get("usage") and Usage(**reply["usage"])}))
            case {"event": "error", "id": int(id_), "error": {"type": str(), "message": str()} as error}:
                self._end(id_, error)
            case _:
                raise ValueError("unknown, incomplete or out of place")

    def _end(self, id_: int, outcome: Reply | Record) -> None:
        self._endings[id_] = Ending(outcome=outcome, arrivals=len(self._requests), place=next(self._places))

    def exchanges(self) -> Sequence[Exchange]:
        """All of them; what the recording does not follow to its end comes last, as an error."""
        for id_ in self._requests.keys() - self._cancelled - self._endings.keys():
            self._end(id_, error_record(ClientError(f"the recording ends before the reply to {id_}")))
        return tuple(
            Exchange(
                id=id_,
                key=request_key(request),
                ending=None if id_ in self._cancelled else self._endings[id_],
            )
            for id_, request in self._requests.items()
        )


def _check_request(request: Mapping[str, Any]) -> None:
    match request:
        case {"messages": [*messages], "schema": dict(), "max_tokens": int(), "seed": int() | None}:
            if all(isinstance(message, dict) for message in messages):
                return
    raise ValueError("messages, schema, max_tokens and seed of a request are needed")
