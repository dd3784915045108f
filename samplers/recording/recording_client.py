"""Every exchange with a model, on file as it happens, so that it can be replayed without one.

A recording is JSON lines, in the order in which things happened at the client's boundary:

    {"schema_version": 1, "kind": "optuna-llm recording"}
    {"event": "request", "id": 1, "request": {"messages", "schema", "max_tokens", "seed", "metadata"}}
    {"event": "reply", "id": 1, "reply": {every field of a Reply}}
    {"event": "error", "id": 1, "error": {"type", "message"; of a ClientError also "retry_after", "status", "code"}}
    {"event": "cancelled", "id": 1}

A reply is on file before its caller has it; "cancelled" after a reply says that its caller never had it. Files of
earlier versions hold "returned" events as well, which say nothing that a replay needs.
"""

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

from ...engine.errors import UsageError
from ...engine.foreign_text import summary
from ...engine.secrets import scrub, scrub_keys
from ...engine.threads import JobThread
from ..client import errors
from ..client.errors import ClientError
from ..client.llm_loop import at_close
from ..client.protocol import Capabilities, Client, Reply, Request, capabilities_of
from ..client.resolve import resolve

HEADER: Final = {"schema_version": 1, "kind": "optuna-llm recording"}
OWNER_ONLY: Final = 0o600  # prompts hold what is known of the task, and of the data
COMPARED_FIELDS: Final = ("messages", "schema", "max_tokens", "seed")
ERROR_DETAILS: Final = ("retry_after", "status", "code")
ERROR_KINDS: Final = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, ClientError)
}


class RecordingClient:
    """Passes requests on to `client` and writes every exchange to `path`, a new file of JSON lines.

    `client` may be a model string, as a sampler takes it ("local" for one).

    Only its owner can read it. Replies and errors are the client's own; what looks like a secret is left out of the
    file, and of the requests' metadata it holds only JSON scalars. A file that holds something already is a
    `UsageError`. One client in one process writes a file: a copy or a forked process must not, and its requests raise.
    A request that cannot be written is not sent, and a reply that cannot be written is a `ClientError`, as is every
    request after it. The constructor looks at the file system, so call it before the event loop runs.
    """

    def __init__(self, client: Client | str, path: str | os.PathLike[str]) -> None:
        client = resolve(client)
        path = Path(path).absolute()
        _require_new(path)
        self.__setstate__({"client": client, "path": path})

    def __repr__(self) -> str:
        return f"RecordingClient({self.client!r}, {self.path.name!r})"  # no folder: it goes on record

    def __getstate__(self) -> dict[str, Any]:
        return {"client": self.client, "path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.client: Client = state["client"]
        self.path: Path = state["path"]
        self._process = os.getpid()
        self._requests = 0
        self._thread: JobThread | None = None  # writes the lines in order, and holds no file open in between
        self._begun = False
        self._failure: Exception | None = None  # the first: after it nothing more is written

    @property
    def capabilities(self) -> Capabilities:
        """Those of the recorded client."""
        return capabilities_of(self.client)

    async def complete(self, request: Request) -> Reply:
        if os.getpid() != self._process:
            raise UsageError(f"the recording {str(self.path)!r} belongs to another process: give each its own file")
        self._requests += 1
        id_ = self._requests
        try:
            await self._write({"event": "request", "id": id_, "request": request_record(request)})
            try:
                reply = await self.client.complete(request)
            except Exception as error:
                await self._write({"event": "error", "id": id_, "error": _error_record(error)})
                raise
            await self._write({"event": "reply", "id": id_, "reply": reply})
            return reply
        except asyncio.CancelledError:
            self._add({"event": "cancelled", "id": id_})
            raise

    async def aclose(self) -> None:
        """Close the client and wait for the last line; both may be used again afterwards."""
        try:
            await self.client.aclose()
            await self._flush()
        finally:
            thread, self._thread = self._thread, None
            if thread is not None:
                thread.close()

    async def _write(self, event: dict[str, Any]) -> None:
        self._add(event)
        await self._flush()

    def _add(self, event: dict[str, Any]) -> None:
        if self._thread is None:
            self._thread = JobThread("optuna-llm recording")
            at_close(self._flush)  # the thread is a daemon: without it, lines could be lost when the process ends
        self._thread.submit(self._append, event)

    async def _flush(self) -> None:
        """Wait until all lines so far are in the file.

        Raises `ClientError` if one could not be written, and `UsageError` if that was the user's mistake.
        """
        if self._thread is not None:
            await self._thread.run(lambda: None)
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # that of the call before says nothing

    def _append(self, event: dict[str, Any]) -> None:
        """Write one line, and the header before the first; runs in the thread."""
        if self._failure is not None:
            return
        try:
            text = "".join(dump(cleaned(line)) + "\n" for line in (HEADER, event)[self._begun :])
            if not self._begun:
                _require_new(self.path)
            _append_whole(self.path, text.encode("ascii"), new=not self._begun)
            self._begun = True
        except UsageError as error:
            self._failure = error
        except Exception as error:
            self._failure = ClientError(
                f"the recording {str(self.path)!r} could not be written ({summary(error)}); "
                "record into a new file where there is room: what is in this one until then can be replayed"
            )


def _append_whole(path: Path, content: bytes, *, new: bool) -> None:
    """Add `content` to a file of the owner's alone; without room, leave none of it, and no file that was not there."""
    size = path.stat().st_size if path.exists() else None
    try:
        with open(path, "ab", opener=_open_for_owner) as file:
            if new and path.is_file():  # it may have been there, empty
                path.chmod(OWNER_ONLY)
            file.write(content)
    except OSError:
        with suppress(OSError):
            os.truncate(path, size or 0)
            if size is None:
                path.unlink()
        raise


def _open_for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, OWNER_ONLY)


def _error_record(error: Exception) -> dict[str, Any]:
    """A `ClientError` under the nearest class of our own tree, any other error by its class and message."""
    if not isinstance(error, ClientError):
        return {"type": type(error).__qualname__, "message": str(error)}
    kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in ERROR_KINDS)
    return {"type": kind, "message": str(error), **{name: getattr(error, name) for name in ERROR_DETAILS}}


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
    return {**{name: getattr(request, name) for name in COMPARED_FIELDS}, "metadata": metadata}


def request_key(record: Mapping[str, Any]) -> str:
    """Equal for equal requests; `record` must be cleaned."""
    return dump([{name: record[name]} for name in COMPARED_FIELDS], sort_keys=True)


def cleaned(value: Any, without_secrets: Callable[[str], str] = scrub) -> Any:
    """`value` in JSON's own types, without what looks like a secret."""
    if isinstance(value, str):
        return without_secrets(value)
    if is_dataclass(value):  # a reply, which answers with choices for names, whatever those are: it must be replayed
        return {field.name: cleaned(getattr(value, field.name), scrub_keys) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): cleaned(part, without_secrets) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(part, without_secrets) for part in value]
    return value


def dump(document: Any, *, sort_keys: bool = False) -> str:
    """One line of ASCII."""
    try:
        return json.dumps(document, sort_keys=sort_keys)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"only requests and replies of JSON values can be recorded and replayed: {error}") from error
