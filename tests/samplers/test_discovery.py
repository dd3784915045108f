"""One trial leads, the others wait for the space that it meets, and nobody waits for ever."""

import threading
from collections.abc import Callable

import pytest

from optuna_llm.samplers.discovery import Discovery


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def discovery(clock: Clock) -> Discovery:
    return Discovery(settle=1.0, clock=clock)


def enter(
    discovery: Discovery, known: Callable[[], bool], alive: Callable[[], bool] = lambda: True, **options: bool
) -> bool:
    return discovery.lead_or_wait(known=known, alive=alive, threaded=options.get("threaded", False))


class Waiter:
    """A second trial, in a thread of its own."""

    def __init__(self, discovery: Discovery, known: Callable[[], bool]) -> None:
        self.leads: bool | None = None
        self.looked = threading.Event()

        def looking() -> bool:
            self.looked.set()
            return known()

        def wait() -> None:
            self.leads = discovery.lead_or_wait(known=looking, alive=lambda: True, threaded=True)

        self.thread = threading.Thread(target=wait, daemon=True)
        self.thread.start()
        assert self.looked.wait(10)

    def result(self) -> bool | None:
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.leads


def test_the_first_leads_and_a_known_space_needs_no_leader(discovery: Discovery) -> None:
    assert enter(discovery, lambda: True) is False
    assert enter(discovery, lambda: False) is True
    assert discovery.busy


def test_a_waiter_goes_on_when_the_leader_has_ended_and_the_space_is_known(discovery: Discovery) -> None:
    space: list[str] = []
    alive = [True]
    enter(discovery, lambda: bool(space), lambda: bool(alive))
    waiter = Waiter(discovery, lambda: bool(space))
    assert waiter.leads is None
    space.append("x")
    alive.clear()
    discovery.notify()
    assert waiter.result() is False


def test_a_waiter_goes_on_when_the_space_has_settled(discovery: Discovery, clock: Clock) -> None:
    enter(discovery, lambda: False)
    waiter = Waiter(discovery, lambda: True)
    clock.now = 0.9
    with discovery.meeting():
        pass
    assert waiter.leads is None
    clock.now = 2.0
    assert waiter.result() is False


def test_a_space_has_not_settled_while_a_parameter_is_asked_for(discovery: Discovery, clock: Clock) -> None:
    enter(discovery, lambda: False)
    with discovery.meeting():
        clock.now = 60.0
        looks = iter([False, False, True])
        discovery.lead_or_wait(known=lambda: True, alive=lambda: True, threaded=False, given_up=looks.__next__)
        assert list(looks) == []  # it looked again and again, and did not go on at the first look
        waiter = Waiter(discovery, lambda: True)
        assert waiter.leads is None
    clock.now = 62.0
    assert waiter.result() is False


def test_a_leader_whose_trial_ended_is_replaced(discovery: Discovery) -> None:
    alive = True
    enter(discovery, lambda: False, lambda: alive)
    waiter = Waiter(discovery, lambda: False)
    alive = False
    assert waiter.result() is True


def test_a_leader_whose_thread_is_gone_is_replaced(discovery: Discovery) -> None:
    thread = threading.Thread(target=lambda: enter(discovery, lambda: False, threaded=True))
    thread.start()
    thread.join()
    assert enter(discovery, lambda: False) is True


def test_a_thread_never_waits_for_itself(discovery: Discovery) -> None:
    assert enter(discovery, lambda: False, threaded=True) is True
    assert enter(discovery, lambda: False, threaded=True) is True


def test_who_gives_up_stops_waiting(discovery: Discovery) -> None:
    enter(discovery, lambda: False)
    assert (
        discovery.lead_or_wait(known=lambda: False, alive=lambda: True, threaded=False, given_up=lambda: True) is False
    )
