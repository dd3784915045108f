"""What a person sees of a study in optuna-dashboard: its real server on loopback, and a real browser."""

import re
import threading
from collections.abc import Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
import pytest
from browser import Browser, Page, needs_chromium
from report_support import HOSTILE, finished, llm_record, study_of

from optuna_llm.engine.study.attributes import proposal_attributes
from optuna_llm.report import annotate

dashboard = pytest.importorskip("optuna_dashboard", reason="the extra `dashboard` is not installed")
pytestmark = needs_chromium

NASTY = f"\u202e**bold** [x](javascript:y) {HOSTILE}</script><script>document.title='owned'</script>"
FAILED, REASKED, BEST, PLAIN = range(4)
UNTITLED = "Optuna Dashboard"
SIZE = (1400, 1400)


class Server(ThreadingMixIn, WSGIServer):
    """A browser asks for several things at once."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    failure = {"type": "ValueError", "message": f"loss is nan {NASTY}"}
    records = [
        llm_record(rationale=NASTY),
        llm_record(reasks=1, calls=2),
        llm_record(rationale="Smaller."),
        llm_record(),
    ]
    values = [None, 3.0, 1.0, 2.0]
    attributes = [proposal_attributes(record) for record in records]
    attributes[FAILED]["failure"] = failure
    made = study_of(*(finished(i, i + 1, values[i], **attributes[i]) for i in range(4)), name=f"a study {HOSTILE}")
    made.set_user_attr("llm_run:one", {"ended": 1e9, "stop_reason": "budget", "seconds": 9.0})
    annotate(made)
    return made


@pytest.fixture(scope="module")
def address(study: optuna.Study) -> Iterator[str]:
    """Where the dashboard shows the study."""
    application = dashboard.wsgi(study._storage)
    with make_server("127.0.0.1", 0, application, server_class=Server, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/dashboard/studies/{study._study_id}"
        server.shutdown()
        thread.join()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.page(SIZE) as opened:
        yield opened


def shown(page: Page, url: str, text: str) -> str:
    """The text of a page of the dashboard, once this is in it."""
    page.open(url)
    page.until(f"document.body.innerText.includes({text!r})")
    return page.text()


@pytest.fixture(scope="module")
def trials(browser: Browser, address: str) -> dict[int, str]:
    """What the dashboard shows of each trial, with its note."""
    with browser.page(SIZE) as page:
        text = shown(page, f"{address}/trials?numbers=0,1,2,3", "Trial 3 (trial_id=")
        assert page.tell("document.querySelectorAll('img[src=x], a[href^=javascript]').length") == 0
        assert page.tell("document.title") == UNTITLED
    pieces = re.split(r"Trial ([0-9]) \(trial_id=", text)
    return {int(number): piece for number, piece in zip(pieces[1::2], pieces[2::2], strict=True)}


@pytest.mark.parametrize(
    ("trial", "lines"),
    [
        (BEST, ("Best: the best trial so far", "Why: Smaller.", "Calls: 1, 0 of them re-asks; cost $0.5000")),
        (REASKED, ("Why: Because.", "Calls: 2, 1 of them re-asks; cost $0.5000")),
        (FAILED, ("Failure: ValueError: loss is nan",)),
    ],
)
def test_the_note_of_a_trial_is_read_on_its_page(trials: dict[int, str], trial: int, lines: tuple[str, ...]) -> None:
    for line in lines:
        assert line in trials[trial]
    assert "optuna-llm" not in trials[trial]  # the mark by which we know our notes


def test_hostile_text_in_a_note_stays_text(trials: dict[int, str]) -> None:
    assert f"Why: **bold** [x](javascript:y) {HOSTILE}</script>" in trials[FAILED]


def test_a_trial_with_nothing_to_say_has_no_note(trials: dict[int, str]) -> None:
    assert "Calls:" not in trials[PLAIN]


def test_the_note_of_the_study_says_why_it_stopped_what_it_is_and_took(page: Page, address: str) -> None:
    text = shown(page, f"{address}/note", "Stopped: budget: the budget does not pay for another request")
    for line in ("Model: some/model", "Trials: 1 failed, 3 complete", "Best: 1, trial 2", "Spent: $2.0000, 400 tokens"):
        assert line in text


def test_the_timeline_is_among_the_graphs(page: Page, address: str) -> None:
    text = shown(page, address, "waiting for the model")
    for part in ("Workers", "evaluating, failed", "seconds since the start"):
        assert part in text
    assert page.tell("document.title") == UNTITLED


def test_flat_attributes_are_axes_and_columns(page: Page, address: str) -> None:
    text = shown(page, f"{address}/smartSelection", "User Attribute llm:cost")
    for axis in ("llm:tokens", "llm:latency"):
        assert f"User Attribute {axis}" in text
    heads = page.tell("[...document.querySelectorAll('th')].map(head => head.innerText)")
    for column in ("llm:role", "llm:cost", "llm:rationale"):
        assert any(column in head for head in heads), heads
