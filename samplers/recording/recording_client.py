"""Every exchange with a model, on file as it happens, so that it can be replayed without one."""

import os
from pathlib import Path
from typing import Any

from ...engine.errors import UsageError
from ..client.capabilities import Capabilities, capabilities_of
from ..client.protocol import Client, Reply, Request
from .exchange_records import HEADER, error_record, reply_record, request_record
from .recording_writer import RecordingWriter, require_new


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
        require_new(self.path)
        self._start()

    def _start(self) -> None:
        self._writer = RecordingWriter(self.path, {**HEADER, "schema_per_ask": self.capabilities.schema_per_ask})

    def __repr__(self) -> str:
        return f"RecordingClient({self.client!r}, {self.path.name!r})"  # no folder: it goes on record

    def __getstate__(self) -> dict[str, Any]:
        return {"client": self.client, "path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    @property
    def capabilities(self) -> Capabilities:
        """Those of the recorded client."""
        return capabilities_of(self.client)

    async def complete(self, request: Request) -> Reply:
        number = self._writer.begin(request_record(request))
        try:
            await self._writer.flush()
            return await self._ask(request, number)
        except Exception:
            raise
        except BaseException:
            self._writer.add({"event": "cancelled", "id": number})
            raise

    async def _ask(self, request: Request, number: int) -> Reply:
        try:
            reply = await self.client.complete(request)
        except Exception as error:
            await self._writer.end({"event": "error", "id": number, "error": error_record(error)})
            raise
        await self._writer.end({"event": "reply", "id": number, "reply": reply_record(reply)})
        return reply

    async def aclose(self) -> None:
        """Close the client and wait for the last line; both may be used again afterwards."""
        try:
            await self.client.aclose()
        finally:
            await self._writer.aclose()
