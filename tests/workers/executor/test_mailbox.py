"""Messages in files: whole, in order, private, and gone in the end."""

import os
import stat
from pathlib import Path

import pytest

from optuna_llm.workers.executor import mailbox
from optuna_llm.workers.executor.mailbox import HEAD, Channel, Letters, new_letters, pause


@pytest.fixture
def letters(tmp_path: Path) -> Letters:
    return new_letters(str(tmp_path))


def test_messages_come_once_and_in_order(letters: Letters) -> None:
    there, here = Channel(letters.calls.path), letters.calls
    assert here.messages() == []
    for message in (b"one", b"", b"three"):
        there.append(message)
    assert here.messages() == [b"one", b"", b"three"]
    there.append(b"four")
    assert here.messages() == [b"four"]
    assert here.messages() == []


@pytest.mark.parametrize("cut", [1, HEAD.size, HEAD.size + 2])
def test_a_message_that_is_not_whole_yet_is_waited_for(letters: Letters, cut: int, tmp_path: Path) -> None:
    (tmp_path / "whole").touch()
    Channel(str(tmp_path / "whole")).append(b"message")
    whole = (tmp_path / "whole").read_bytes()
    with open(letters.calls.path, "ab") as file:
        file.write(whole[:cut])
    assert letters.calls.messages() == []
    with open(letters.calls.path, "ab") as file:
        file.write(whole[cut:])
    assert letters.calls.messages() == [b"message"]


def test_a_gap_that_a_file_system_has_not_filled_yet_is_waited_for(letters: Letters) -> None:
    letters.calls.append(b"message")
    path = Path(letters.calls.path)
    whole = path.read_bytes()
    path.write_bytes(whole[: HEAD.size] + bytes(len(b"message")))
    assert letters.calls.messages() == []
    path.write_bytes(whole)
    assert letters.calls.messages() == [b"message"]


def test_looks_are_a_tenth_of_the_silence_apart_within_bounds() -> None:
    assert [pause(seconds) for seconds in (0.0, 0.001, 1.0, 4.0, 60.0, 1e6)] == [0.002, 0.002, 0.1, 0.4, 0.5, 0.5]


def test_an_answer_is_waited_for_and_not_for_ever(letters: Letters, monkeypatch: pytest.MonkeyPatch) -> None:
    moments, pauses = iter(range(1000)), list[float]()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            Channel(letters.answers.path).append(b"yes")

    monkeypatch.setattr("time.monotonic", lambda: float(next(moments)))
    monkeypatch.setattr("time.sleep", sleep)
    assert letters.answers.next_message(90.0) == b"yes"
    assert len(pauses) == 3
    assert letters.answers.next_message(90.0) is None


def test_nobody_else_may_read_what_is_written(letters: Letters) -> None:
    paths = [Path(letters.calls.path), Path(letters.answers.path)]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (paths[0].parent, *paths)] == [0o700, 0o600, 0o600]


def test_what_is_removed_takes_no_message(letters: Letters, tmp_path: Path) -> None:
    letters.remove()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        letters.calls.append(b"late")
    letters.remove()  # a second time is no error


def test_what_is_there_at_the_end_of_a_process_is_removed_by_that_alone(
    letters: Letters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = os.getpid()
    monkeypatch.setattr("os.getpid", lambda: owner + 1)  # as in a fork of it
    mailbox._remove_all()
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr("os.getpid", lambda: owner)
    mailbox._remove_all()
    assert list(tmp_path.iterdir()) == []
