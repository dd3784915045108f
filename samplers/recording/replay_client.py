"""A recording in place of a model: the same requests get the same replies."""

import asyncio
import json
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ...engine.errors import UsageError
from ...engine.foreign_text import summary
from ...engine.study.attributes import as_mapping
from ..client.errors import ClientError
from ..client.protocol import Capabilities, Prices, Reply, Request, Usage
from .recording_client import ERROR_DETAILS, ERROR_KINDS, HEADER, cleaned, request_key, request_record

# How much of two requests an error shows: enough to recognize the place, from a little before the difference on.
SHOWN_CHARACTERS: Final = 90
LEADING_CHARACTERS: Final = 30


class ReplayClient:
    """Answers from the recording at `path`, which a `RecordingClient` wrote; needs no network.

    A request gets the reply or error of the first unused recorded request that equals it in messages, schema,
    max_tokens and seed. Another request is a `ClientError` that says where it differs from the nearest. A request that
    was cancelled in the recording waits to be cancelled.

    A prompt shows the study as it is when the prompt is made, so a run finds its replies only if its trials end in the
    recorded order. With one worker and the same objective they do. With several workers the order is chance and is not
    reproduced: a run that goes another way is refused.

    All calls must come from one event loop at a time. The file is read here, once, so call this before the event loop
    runs; a file that is no recording is a `UsageError`. A copy reads it again, and starts from the beginning.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._outcomes: dict[int, Reply | ClientError | None] = {}  # None: cancelled
        self._unused: dict[str, deque[int]] = {}  # ids by key, in recorded order
        self._read()

    def __repr__(self) -> str:
        return f"ReplayClient({self.path.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return ReplayClient, (self.path,)

    @property
    def capabilities(self) -> Capabilities:
        """A replay asks no model and costs nothing: its rates are its own."""
        return Capabilities(model=repr(self), prices=_free)

    async def complete(self, request: Request) -> Reply:
        key = request_key(cleaned(request_record(request)))
        unused = self._unused.get(key)
        if not unused:
            raise ClientError(self._unknown(key))
        outcome = self._outcomes[unused.popleft()]
        if isinstance(outcome, ClientError):
            raise outcome
        return outcome or await asyncio.get_running_loop().create_future()  # until it is cancelled

    async def aclose(self) -> None:
        """Nothing is held."""

    def _unknown(self, key: str) -> str:
        left = {recorded: ids[0] for recorded, ids in self._unused.items() if ids}
        if not left:
            return f"{self.path.name} has no unused request, of {len(self._outcomes)}: the run asks more"
        nearest = max(left, key=lambda recorded: _n_common(recorded, key))
        start = max(0, _n_common(nearest, key) - LEADING_CHARACTERS)
        old, new = (repr(f"...{text[start : start + SHOWN_CHARACTERS]}...") for text in (nearest, key))
        return (
            f"{self.path.name} holds no unused request like this one; "
            f"the nearest is request {left[nearest]}: recorded {old}, asked {new}"
        )

    def _read(self) -> None:
        """Take in the file; a last line that was cut off by a crash is left out."""
        where = repr(str(self.path))
        try:
            first, *lines = self.path.read_bytes().split(b"\n")
        except OSError as error:
            raise UsageError(f"the recording {where} cannot be read: {summary(error)}") from error
        header = as_mapping(_json(first))
        if header.get("kind") != HEADER["kind"]:
            raise UsageError(f"{where}, line 1: not the header of a recording made by RecordingClient")
        if header.get("schema_version") != HEADER["schema_version"]:
            raise UsageError(f"{where}, line 1: schema_version {header.get('schema_version')!r} is not known here")
        if lines and _json(lines[-1]) is None:
            lines.pop()
        for number, line in enumerate(lines, 2):
            try:
                self._take_in(_json(line))
            except (ValueError, TypeError, KeyError) as error:
                raise UsageError(f"{where}, line {number}: no event of a recording ({summary(error)})") from error

    def _take_in(self, event: Any) -> None:
        match event:
            case {"event": "request", "id": int(id_), "request": {"messages": [*_]} as asked}:
                if id_ in self._outcomes:
                    raise ValueError(f"request {id_} has come before")
                self._unused.setdefault(request_key(cleaned(asked)), deque()).append(id_)
                self._outcomes[id_] = ClientError(f"the recording ends before the reply to {id_}")
            case {"id": int(id_)} if id_ not in self._outcomes:
                raise ValueError(f"there is no request {id_}")
            case {"event": "reply", "id": int(id_), "reply": {"text": str()} as reply}:
                usage = reply.get("usage")
                self._outcomes[id_] = Reply(**{**reply, "usage": usage and Usage(**usage)})
            case {"event": "error", "id": int(id_), "error": {"type": str(), "message": str()} as error}:
                self._outcomes[id_] = _error_of(error)
            case {"event": "cancelled", "id": int(id_)}:
                self._outcomes[id_] = None
            case {"event": "returned"}:
                pass  # of an earlier version, which also replayed when the caller had its reply
            case _:
                raise ValueError("unknown, incomplete or out of place")


async def _free() -> Prices:
    """What recorded replies say that they cost is counted as it was."""
    return Prices(prompt=0.0, completion=0.0)


def _json(line: bytes) -> Any:
    """The document in a line; None if there is none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _error_of(record: Mapping[str, Any]) -> ClientError:
    """The error under its own class if it is one of ours."""
    if "retry_after" not in record:
        return ClientError(f"the recorded client raised {record['type']}: {record['message']}")
    kind = ERROR_KINDS.get(record["type"], ClientError)
    return kind(record["message"], **{name: record.get(name) for name in ERROR_DETAILS})


def _n_common(one: str, other: str) -> int:
    """How many characters two keys have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))
