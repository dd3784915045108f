"""A real browser for tests: headless Chromium, driven over a pipe in its DevTools protocol."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import pytest

CHROMIUM: Final = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
PATIENCE: Final = 60.0  # seconds without a word from the browser, on a busy machine
OPTIONS: Final = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # which root, as CI may be, cannot have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # a page reaches nothing beyond loopback
)
DESKTOP, PHONE = (1200, 800), (390, 844)  # width and height in pixels

# It reads from 3 and writes to 4, which the pipes may be already, the other way round.
BECOME: Final = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD_CLOEXEC, 10) for end in sys.argv[1:3]]
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""

# A condition is looked at before each frame: what it waits for has happened then, not only begun.
UNTIL: Final = """
new Promise(done => {{
  const look = () => {{ const seen = ({condition}); if (seen) done(seen); else requestAnimationFrame(look); }};
  look();
}})
"""


class Browser:
    """A process of Chromium; pages are opened one after another, each with storage of its own."""

    def __init__(self, profile: Path) -> None:
        theirs, self._to = os.pipe()
        self._from, other = os.pipe()
        command = [str(CHROMIUM), *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BECOME, str(theirs), str(other), *command],
            pass_fds=(theirs, other),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(other)
        self._rest = b""
        self._calls = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, *, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result; events that come before it are kept."""
        self._calls += 1
        message: dict[str, Any] = {"id": self._calls, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self._calls:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def receive(self) -> dict[str, Any]:
        """The next message of the browser."""
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], PATIENCE)
            assert ready, f"the browser has said nothing for {PATIENCE} s"
            piece = os.read(self._from, 1 << 20)
            assert piece, "the browser has ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def close(self) -> None:
        with contextlib.suppress(AssertionError, BrokenPipeError):
            self.call("Browser.close")
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._to)
            os.close(self._from)

    @contextlib.contextmanager
    def page(self, size: tuple[int, int] = DESKTOP, *, dark: bool = False, scripts: bool = True) -> Iterator["Page"]:
        """A blank page of this size, in light or dark, with or without JavaScript."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.call("Performance.enable", timeDomain="threadTicks")
        page.resize(size)
        page.paint(dark=dark)
        page.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        try:
            yield page
        finally:
            self.call("Target.disposeBrowserContext", browserContextId=context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Page:
    """One page of a browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, session=self._session, **params)

    def open(self, url: str) -> None:
        """Go to a URL, and wait until it and all it names is loaded."""
        self._browser.events.clear()
        said = self.call("Page.navigate", url=url)
        assert "errorText" not in said, said
        while not any(self._happened("Page.loadEventFired")):
            self._browser.events.append(self._browser.receive())

    def tell(self, expression: str) -> Any:
        """The value of an expression of JavaScript, which may be a promise."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, condition: str) -> Any:
        """Wait until an expression is true, and return its value."""
        return self.tell(UNTIL.format(condition=condition))

    def text(self, selector: str = "body") -> str:
        """The text that a person sees in an element."""
        text: str = self.tell(f"document.querySelector({json.dumps(selector)}).innerText")
        return text

    def resize(self, size: tuple[int, int]) -> None:
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)

    def paint(self, *, dark: bool) -> None:
        """Prefer a dark or a light scheme."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def cpu_seconds(self) -> float:
        """Seconds of a processor that the page's main thread has used; what else the machine does hardly counts."""
        metrics = {metric["name"]: metric["value"] for metric in self.call("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])

    def complaints(self) -> list[str]:
        """What stands in the console: errors, warnings, refusals of the policy, and exceptions."""
        self.tell("0")
        logged = [event["params"]["entry"]["text"] for event in self._happened("Log.entryAdded")]
        thrown = [str(event["params"]["exceptionDetails"]) for event in self._happened("Runtime.exceptionThrown")]
        said = [
            str(event["params"]["args"])
            for event in self._happened("Runtime.consoleAPICalled")
            if event["params"]["type"] in ("error", "warning", "assert")
        ]
        return [*logged, *thrown, *said]

    def picture(self, path: Path) -> None:
        """Write what the page looks like, all of it, as PNG: for people, not for tests."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def _happened(self, method: str) -> Iterator[dict[str, Any]]:
        events = self._browser.events
        return (event for event in events if event.get("sessionId") == self._session and event.get("method") == method)
