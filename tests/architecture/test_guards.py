"""The guards in conftest can fail."""

import asyncio
import importlib
import os
import socket
import time
from types import ModuleType
from typing import Any

import pytest
from blockbuster import BlockingError


def as_library_code(source: str) -> ModuleType:
    """A module whose code claims to stand in the engine's folder."""
    engine = importlib.import_module("optuna_llm.engine")
    module = ModuleType("offender")
    exec(compile(source, f"{engine.__path__[0]}/offender.py", "exec"), module.__dict__)
    return module


@pytest.mark.asyncio
async def test_a_blocking_call_of_the_library_on_the_loop_raises() -> None:
    offender = as_library_code("import time\ndef nap(): time.sleep(0)")
    with pytest.raises(BlockingError, match=r"time\.sleep"):
        offender.nap()


@pytest.mark.asyncio
async def test_the_library_may_block_in_a_thread() -> None:
    offender = as_library_code("import time\ndef nap(): time.sleep(0)")
    await asyncio.to_thread(offender.nap)


@pytest.mark.asyncio
async def test_a_test_may_block_its_own_loop() -> None:
    time.sleep(0)  # noqa: ASYNC251


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_connecting_beyond_loopback_fails(nothing_beyond_loopback: Any, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock, pytest.raises(pytest.fail.Exception, match="beyond loopback"):
        sock.connect((host, 9))
    assert nothing_beyond_loopback.attempts == [repr(host)]
    nothing_beyond_loopback.attempts.clear()


def test_resolving_a_foreign_name_fails(nothing_beyond_loopback: Any) -> None:
    with pytest.raises(pytest.fail.Exception, match="beyond loopback"):
        socket.getaddrinfo("api.example.com", 443)
    assert nothing_beyond_loopback.attempts == ["'api.example.com'"]
    nothing_beyond_loopback.attempts.clear()


def test_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_no_provider_key_is_visible() -> None:
    assert not [name for name in os.environ if name.endswith("_API_KEY")]
