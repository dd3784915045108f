"""The page in a real browser: what a person sees, and does."""

from pathlib import Path

import optuna
import pytest
from browser import PHONE, Browser, Page, needs_chromium
from report_support import HOSTILE, finished, large_study, llm_record, study_of

from optuna_llm.report import write_report

pytest.importorskip("plotly", reason="the report's extra is not installed")
pytestmark = needs_chromium

SLOWEST = 3.0  # seconds of a processor
TALL = (1200, 9_000)  # pixels: all is in sight
SCRIPT_END = "</script><script>document.title='owned'</script>"
NASTY = f"\u202e\u200f{HOSTILE}{SCRIPT_END}'\"`${{1}}&amp;\x1b[2J"
ALL_DRAWN = "[...document.querySelectorAll('.plot')].every(place => place.querySelector('.main-svg'))"
NUMBERS = "[...document.querySelectorAll('#rows tr')].map(row => Number(row.cells[0].textContent))"
COUNT = "document.getElementById('count').textContent"
# The contrast of text and background by WCAG 2.
CONTRAST = """
(() => {
  const style = getComputedStyle(document.body);
  const [text, back] = [style.color, style.backgroundColor].map(colour => {
    const parts = colour.match(/[0-9.]+/g).slice(0, 3).map(part => part / 255);
    const [r, g, b] = parts.map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  });
  return { ratio: (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05), dark: back < text };
})()
"""


@pytest.fixture
def study() -> optuna.Study:
    failure = {"type": "ValueError", "message": "loss is nan"}
    return study_of(
        finished(0, 4, 10.0, llm=llm_record(rationale="A wide first guess.", repairs=["lr"])),
        finished(0, 3, 9.0, llm=llm_record(rationale="Near & co")),
        finished(4, 6, None, llm=llm_record(rationale="Bold."), failure=failure),
        finished(6, 9, 100.0, llm=llm_record(rationale="Wide again.")),
    )


@pytest.fixture
def nasty() -> optuna.Study:
    """All text from outside tries to be more than text, and some of it is endless."""
    long = "N" * 10_000
    failure = {"type": NASTY, "message": NASTY + long}
    record = llm_record(rationale=NASTY + long, model=NASTY, role=NASTY, duplicate_of=NASTY)
    params = [{HOSTILE: HOSTILE}, {HOSTILE: "plain"}]
    trials = [
        finished(i, i + 1, float(i % 7) if i % 5 else None, llm=record, failure=failure, params=params[i % 2])
        for i in range(30)
    ]
    study = study_of(*trials, name=NASTY + long)
    study.set_user_attr("llm_run:a", {"ended": 1e9, "stop_reason": NASTY + long, "seconds": 1.0})
    return study


def opened(page: Page, study: optuna.Study, folder: Path) -> Page:
    page.open(write_report(study, folder / "report.html").as_uri())
    return page


def press(page: Page, head: str) -> None:
    """Click on the head of a column."""
    heads = "[...document.querySelectorAll('#trials th button')]"
    page.tell(f"{heads}.find(button => button.textContent === '{head}').click()")


def fill(page: Page, field: str, value: str, event: str = "input") -> None:
    place = f"document.getElementById('{field}')"
    page.tell(f"{place}.value = '{value}'; {place}.dispatchEvent(new Event('{event}'))")


def is_within_the_screen(page: Page) -> bool:
    """Whether the page scrolls in one direction alone."""
    within: bool = page.tell("document.documentElement.scrollWidth <= window.innerWidth")
    return within


def test_all_figures_are_drawn_and_the_console_is_empty(browser: Browser, study: optuna.Study, tmp_path: Path) -> None:
    with browser.page(TALL) as page:
        opened(page, study, tmp_path).until(ALL_DRAWN)
        assert page.tell("document.querySelectorAll('.plot').length") == 7
        assert "This figure needs JavaScript" not in page.text()
        assert page.complaints() == []


def test_figures_out_of_sight_are_drawn_when_they_come_into_it(
    browser: Browser, study: optuna.Study, tmp_path: Path
) -> None:
    with browser.page() as page:
        opened(page, study, tmp_path).until("best.querySelector('.main-svg')")
        assert page.tell("spending.querySelector('.main-svg')") is None
        page.tell("spending.scrollIntoView()")
        assert page.until("spending.querySelector('.main-svg') !== null")


def test_hostile_text_stays_text(browser: Browser, nasty: optuna.Study, tmp_path: Path) -> None:
    with browser.page(TALL) as page:
        opened(page, nasty, tmp_path).until(ALL_DRAWN)
        press(page, "value")
        assert page.tell("document.title").startswith(HOSTILE)
        assert page.tell("document.querySelectorAll('img, b, a[href]').length") == 0
        for place in ("h1", "#rows", "#slice1"):
            assert HOSTILE[:20] in page.tell(f"document.querySelector('{place}').textContent")
        assert page.complaints() == []


def test_the_table_sorts_by_number(browser: Browser, study: optuna.Study, tmp_path: Path) -> None:
    with browser.page() as page:
        opened(page, study, tmp_path).until(COUNT)
        press(page, "value")
        assert page.tell(NUMBERS) == [1, 0, 3, 2]
        press(page, "value")
        assert page.tell(NUMBERS) == [3, 0, 1, 2]
        assert page.tell("document.querySelector('[aria-sort]').textContent") == "value"
        press(page, "trial")
        assert page.tell(NUMBERS) == [0, 1, 2, 3]


def test_the_table_filters_by_words_and_state(browser: Browser, study: optuna.Study, tmp_path: Path) -> None:
    with browser.page() as page:
        opened(page, study, tmp_path).until(COUNT)
        fill(page, "find", "WIDE guess")
        assert page.tell(NUMBERS) == [0]
        assert page.tell(COUNT) == "1 of 1 that match trials"
        fill(page, "find", "no such word")
        assert page.tell(NUMBERS) == []
        fill(page, "find", "")
        fill(page, "state", "FAIL", "change")
        assert page.tell(NUMBERS) == [2]
        press(page, "value")
        assert page.tell(NUMBERS) == [2]


def test_more_trials_are_shown_on_demand(browser: Browser, tmp_path: Path) -> None:
    with browser.page() as page:
        opened(page, large_study(210), tmp_path).until(COUNT)
        assert len(page.tell(NUMBERS)) == 200
        page.tell("more.click()")
        assert len(page.tell(NUMBERS)) == 210
        assert page.tell("more.hidden")


@pytest.mark.parametrize("which", [pytest.param("study", marks=pytest.mark.slow), "nasty"])
def test_a_phone_scrolls_the_page_in_one_direction(
    browser: Browser, tmp_path: Path, which: str, request: pytest.FixtureRequest
) -> None:
    with browser.page(PHONE) as page:
        opened(page, request.getfixturevalue(which), tmp_path)
        for place in page.tell("[...document.querySelectorAll('.plot')].map(place => place.id)"):
            page.tell(f"{place}.scrollIntoView()")
            page.until(f"{place}.querySelector('.main-svg') !== null")
        assert is_within_the_screen(page)
        assert page.tell("document.querySelector('#trials').offsetWidth > window.innerWidth")  # it scrolls by itself


@pytest.mark.parametrize("dark", [True, False])
def test_text_is_legible_in_both_schemes(browser: Browser, study: optuna.Study, tmp_path: Path, dark: bool) -> None:
    with browser.page(dark=dark) as page:
        contrast = opened(page, study, tmp_path).tell(CONTRAST)
        assert contrast["dark"] is dark
        assert contrast["ratio"] > 7


def test_figures_follow_the_scheme_when_it_changes(browser: Browser, study: optuna.Study, tmp_path: Path) -> None:
    colour = "best.querySelector('.xtick text')?.style.fill"
    with browser.page() as page:
        light = opened(page, study, tmp_path).until(colour)
        page.paint(dark=True)
        assert page.until(f"{colour} !== '{light}' && {colour}") != light


@pytest.mark.parametrize("size", [PHONE, (1200, 800)])
def test_numbers_and_trials_are_there_without_scripts(browser: Browser, tmp_path: Path, size: tuple[int, int]) -> None:
    with browser.page(size, scripts=False) as page:
        opened(page, large_study(210), tmp_path)
        text = page.text()
        for part in ("This figure needs JavaScript.", "Importance", "share of menus", "Trial 209:"):
            assert part in text
        assert "Show more" not in text
        assert page.tell("document.querySelectorAll('tr.COMPLETE, tr.FAIL').length") == 210
        assert is_within_the_screen(page)


@pytest.mark.slow
def test_a_report_of_5000_trials_opens_quickly(browser: Browser, tmp_path: Path) -> None:
    with browser.page() as page:
        opened(page, large_study(5_000), tmp_path).until(COUNT)
        page.tell("hours.scrollIntoView()")
        page.until("best.querySelector('.main-svg') && hours.querySelector('.main-svg')")
        page.tell("timeline.scrollIntoView()")
        page.until("timeline.querySelector('.main-svg') && workload.querySelector('.main-svg')")
        assert page.cpu_seconds() < SLOWEST
        assert page.complaints() == []
