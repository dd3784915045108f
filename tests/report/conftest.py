"""One browser for all tests of pages: it takes a second to start, and each page has storage of its own."""

from collections.abc import Iterator

import pytest
from browser import Browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A real browser; a test that uses it has the mark `needs_chromium`."""
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started
