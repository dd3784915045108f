"""Our lines go where Optuna's go, and are let through as Optuna's are."""

import io
import logging
from collections.abc import Iterator

import optuna
import pytest

from optuna_llm.engine.logs import counted, get_logger

logger = get_logger("optuna_llm.engine")


@pytest.fixture
def shown() -> Iterator[io.StringIO]:
    """What Optuna's own handler writes, as it is by default: its format, its verbosity, no propagation."""
    stream, verbosity = io.StringIO(), optuna.logging.get_verbosity()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("[%(levelname)1.1s] %(message)s"))
    optunas = logging.getLogger("optuna")
    optunas.addHandler(handler)
    optuna.logging.disable_propagation()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    try:
        yield stream
    finally:
        optunas.removeHandler(handler)
        optuna.logging.enable_propagation()
        optuna.logging.set_verbosity(verbosity)


def test_optunas_handler_and_format_are_ours(shown: io.StringIO) -> None:
    logger.info("a line")
    logger.debug("too low")
    assert shown.getvalue() == "[I] a line\n"


def test_optunas_verbosity_is_ours(shown: io.StringIO) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logger.info("too low")
    logger.warning("a warning")
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    logger.debug("a detail")
    assert shown.getvalue() == "[W] a warning\n[D] a detail\n"


def test_optunas_propagation_is_ours(shown: io.StringIO) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        logger.info("kept")
        optuna.logging.enable_propagation()
        logger.info("passed on")
    finally:
        logging.getLogger().removeHandler(handler)
    assert stream.getvalue() == "passed on\n"


def test_ours_alone_can_be_made_quiet(shown: io.StringIO) -> None:
    ours = logging.getLogger("optuna_llm")
    ours.setLevel(logging.ERROR)
    try:
        logger.warning("too low")
        logging.getLogger("optuna.study").warning("theirs")
    finally:
        ours.setLevel(logging.NOTSET)
    assert shown.getvalue() == "[W] theirs\n"


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 re-asks"), (1, "1 re-ask"), (2, "2 re-asks"), (1234, "1234 re-asks")]
)
def test_a_noun_goes_with_its_number(number: int, words: str) -> None:
    assert counted(number, "re-ask") == words
