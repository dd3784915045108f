"""Every exchange with a model, on file as it happens, so that it can be replayed without one.

A recording is JSON lines, in the order in which the events happened at the client's boundary:

    {"schema_version": 1, "kind": "optuna-llm recording", "schema_per_ask": what the client says}
    {"event": "request", "id": 1, "request": {"messages", "schema", "max_tokens", "seed", "metadata"}}
    {"event": "reply", "id": 1, "reply": {every field of a Reply}}
    {"event": "error", "id": 1, "error": {"type", "message"; of a ClientError also "retry_after", "status", "code"}}
    {"event": "cancelled", "id": 1}
    {"event": "returned", "id": 1}

A reply is on file before its caller has it. Where other lines were written in between, "returned" marks the moment at
which the caller had it, and that moment counts. "cancelled" after a reply says that the caller never had it.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from ...engine.errors import UsageError
from ...engine.scrub import scrub
from ..client import errors
from ..client.errors import ClientError
from ..client.prices import Prices, prices_of
from ..client.protocol import Client, Reply, Request, Usage, schema_per_ask

HEADER: Final = {"schema_version": 1, "kind": "optuna-llm recording"}
KINDS: Final = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, ClientError)
}
COMPARED: Final = ("messages", "schema", "max_tokens", "seed")

Record = Mapping[str, Any]


class RecordingClient:
    """Passes requests on to `client` and writes every exchange to `path`, a new file of JSON lines.

    Replies, errors and their order are the client's own; what looks like a secret is left out of the file, and of the
    requests' metadata it holds only JSON scalars. A file that holds something already is a `UsageError`. One client in
    one process writes a file: a copy or a forked process must not, and its requests raise. A request that cannot be
    written is not sent, and a reply that cannot be written is a `ClientError`, as is every request after it. The
    constructor looks at the file system, so call it before the event loop runs.
    """

    def __init__(self, client: Client, path: str | os.PathLike[str]) -> None:
        if isinstance(client, type) or not isinstance(client, Client):
            raise UsageError(f"RecordingClient wraps a Client, such as LiteLLMClient(...), got {client!r}")
        self.client = client
        self.path = Path(path).absolute()
        _require_new(self.path)
        self._journal = _Journal(self.path, _header(self.client))

    def __repr__(self) -> str:
        return f"RecordingClient({self.client!r}, {self.path.name!r})"  # no folder: it goes on record

    def __getstate__(self) -> dict[str, Any]:
        return {"client": self.client, "path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._journal = _Journal(self.path, _header(self.client))

    @property
    def schema_per_ask(self) -> bool:
        """What the recorded client says."""
        return schema_per_ask(self.client)

    async def complete(self, request: Request) -> Reply:
        number = self._journal.begin(request_record(request))
        try:
            await self._journal.flush()
            return await self._ask(request, number)
        except Exception:
            raise
        except BaseException:
            self._journal.add({"event": "cancelled", "id": number})
            raise

    async def _ask(self, request: Request, number: int) -> Reply:
        try:
            reply = await self.client.complete(request)
        except Exception as error:
            await self._journal.end({"event": "error", "id": number, "error": error_record(error)})
            raise
        await self._journal.end({"event": "reply", "id": number, "reply": reply_record(reply)})
        return reply

    async def prices(self) -> Prices:
        """Those of the client."""
        return await prices_of(self.client)

    async def aclose(self) -> None:
        """Close the client and wait for the last line; both may be used again afterwards."""
        try:
            await self.client.aclose()
        finally:
            await self._journal.close()


class _Journal:
    """Lines on their way to the file. `add` decides their order; one thread makes and writes them, and holds no file
    open in between. After the first failure nothing more is written."""

    def __init__(self, path: Path, header: Record) -> None:
        self._path = path
        self._header = header
        self._process = os.getpid()
        self._writer: ThreadPoolExecutor | None = None
        self._failure: Exception | None = None
        self._requests = 0
        self._lines = 0

    def begin(self, request: Record) -> int:
        """Take down a request; returns its id."""
        if os.getpid() != self._process:
            raise UsageError(f"the recording {str(self._path)!r} belongs to another process: give each its own file")
        self._require_sound()
        self._requests += 1
        self.add({"event": "request", "id": self._requests, "request": request})
        return self._requests

    def add(self, event: Record) -> int:
        """Never raises; returns how many lines there are."""
        try:
            if self._writer is None:
                self._writer = ThreadPoolExecutor(1, thread_name_prefix="optuna-llm recording")
            self._writer.submit(self._write, event, new=self._lines == 0)
        except RuntimeError as error:  # the interpreter is exiting
            self._failure = self._failure or error
        self._lines += 1
        return self._lines

    async def flush(self) -> None:
        """Wait until all lines so far are in the file; raises if one could not be written."""
        self._require_sound()
        if self._writer is not None:
            await asyncio.wrap_future(self._writer.submit(_nothing))  # cancelling it cancels no line
        self._require_sound()

    async def end(self, event: Record) -> None:
        """Take down how a request ended; once this returns, its caller has it."""
        line = self.add(event)
        await self.flush()
        if self._lines > line:
            self.add({"event": "returned", "id": event["id"]})

    async def close(self) -> None:
        try:
            await self.flush()
        finally:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.shutdown(wait=False)

    def _require_sound(self) -> None:
        failure = self._failure
        if isinstance(failure, UsageError):
            raise UsageError(str(failure))
        if failure is not None:
            raise ClientError(
                f"the recording {str(self._path)!r} could not be written ({type(failure).__name__}: {failure}); "
                "record into a new file where there is room: what is in this one until then can be replayed"
            ) from failure

    def _write(self, event: Record, *, new: bool) -> None:
        """Runs in the thread."""
        if self._failure is not None:
            return
        try:
            lines = [self._header, event] if new else [event]
            text = "".join(dump(cleaned(line)) + "\n" for line in lines)
            if new:
                _require_new(self._path)
            with self._path.open("ab") as file:
                file.write(text.encode("ascii"))
        except Exception as error:
            self._failure = error


def _header(client: Client) -> Record:
    return {**HEADER, "schema_per_ask": schema_per_ask(client)}


def _nothing() -> None:
    pass


def _require_new(path: Path) -> None:
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {str(path.parent)!r} to write the recording {path.name!r} into")
    if path.is_dir() or (path.exists() and path.stat().st_size):
        raise UsageError(
            f"{str(path)!r} exists and a recording is never added to: record into a new file, delete this one, or "
            "replay it with ReplayClient(path)"
        )


def request_record(request: Request) -> dict[str, Any]:
    """What is kept of a request; of its metadata, only what any process can read."""
    scalars = (str, int, float, bool, type(None))
    metadata = {name: value for name, value in request.metadata.items() if type(value) in scalars}
    return {**{name: getattr(request, name) for name in COMPARED}, "metadata": metadata}


def request_key(record: Record) -> str:
    """Equal for equal requests; `record` must be cleaned."""
    return dump([record[name] for name in COMPARED], sort_keys=True)


def reply_record(reply: Reply) -> dict[str, Any]:
    usage = reply.usage and {field.name: getattr(reply.usage, field.name) for field in fields(Usage)}
    return {field.name: getattr(reply, field.name) for field in fields(Reply)} | {"usage": usage}


def error_record(error: Exception) -> dict[str, Any]:
    """A `ClientError` under the nearest class of our own tree, any other by its class and message."""
    if not isinstance(error, ClientError):
        return {"type": type(error).__qualname__, "message": str(error)}
    kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in KINDS)
    details = {name: getattr(error, name) for name in ("retry_after", "status", "code")}
    return {"type": kind, "message": str(error), **details}


def cleaned(value: Any) -> Any:
    """`value` in JSON's own types, without what looks like a secret."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {str(name): cleaned(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(part) for part in value]
    return value


def dump(document: Any, *, sort_keys: bool = False) -> str:
    """One line of ASCII."""
    try:
        return json.dumps(document, sort_keys=sort_keys)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"only requests and replies of JSON values can be recorded and replayed: {error}") from error
