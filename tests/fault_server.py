"""A model server on loopback that misbehaves as it is told, over real HTTP."""

import asyncio
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """One scripted answer. `drip` is seconds between bytes; `promised` the Content-Length to claim."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    delay: float = 0.0
    drip: float | None = None
    promised: int | None = None
    hang: bool = False
    reset: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


def completion(content: str | None = '{"x": 1}', **changes: Any) -> Scripted:
    """An OpenAI chat completion; `changes` replace top-level fields, and None drops them."""
    message = {"role": "assistant", "content": content, **changes.pop("message", {})}
    document = {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": message, "finish_reason": changes.pop("finish_reason", "stop")}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        **changes,
    }
    document = {key: value for key, value in document.items() if value is not None}
    return Scripted(body=json.dumps(document).encode())


def failure(status: int, message: str = "no", *, code: str | None = None, **headers: str) -> Scripted:
    """An OpenAI error document; underscores in the names of `headers` become dashes."""
    error = {"message": message, "type": code or "error", "code": code, "param": None}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Scripted(status=status, body=json.dumps({"error": error}).encode(), headers=named)


class FaultServer:
    """Gives the scripted answers in turn, the last one for ever, and keeps what it received."""

    def __init__(self, *script: Scripted) -> None:
        self.script = list(script) or [completion()]
        self.received: list[Received] = []
        self.arrived = threading.Event()
        self.hung_up = threading.Event()
        self.url = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="fault-server")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def answer(self, request: Received) -> Scripted:
        """The next one of the script; a server that decides by the request overrides this."""
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._track, "127.0.0.1", 0)
        self.url = "http://{}:{}/v1".format(*server.sockets[0].getsockname())
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _track(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first: bytes | None = b""
            while first is not None:
                first = await self._exchange(reader, writer, first)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes) -> bytes | None:
        """Answer one request; returns the first byte of the next if that is here already, None if there is none."""
        request = await _read(reader, first)
        answer = self.answer(request)
        self.received.append(request)
        self.arrived.set()
        if answer.reset:
            return None
        more = asyncio.ensure_future(reader.read(1))  # nothing, once the client has hung up
        try:
            await asyncio.wait({more}, timeout=None if answer.hang else answer.delay)
            sending = asyncio.ensure_future(_send(writer, answer))
            while not (_hung_up(more) or sending.done()):
                awaited = {sending} if more.done() else {more, sending}
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            sending.cancel()
            if _hung_up(more):
                self.hung_up.set()
                return None
            if answer.promised is not None:
                return None
            return more.result() if more.done() else b""
        finally:
            more.cancel()
            await asyncio.wait({more})


def _hung_up(more: asyncio.Task[bytes]) -> bool:
    return more.done() and (more.exception() is not None or not more.result())


async def _read(reader: asyncio.StreamReader, first: bytes) -> Received:
    lines = (first + await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(path=lines[0].split(" ")[1], headers=headers, body=json.loads(body or b"{}"))


async def _send(writer: asyncio.StreamWriter, answer: Scripted) -> None:
    length = len(answer.body) if answer.promised is None else answer.promised
    headers = {"Content-Type": answer.content_type, "Content-Length": str(length), **answer.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {answer.status} Scripted\r\n{head}\r\n".encode())
    for piece in [answer.body] if answer.drip is None else [bytes([byte]) for byte in answer.body]:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(answer.drip or 0)
