"""The order in which things happened in a run, and a run in that order again.

A prompt shows what has ended and what is in flight when it is written, so a run of several workers meets its recorded
prompts only if everything happens in the recorded order. A `Recorder` writes that order down; a `Conductor` keeps it.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from optuna_llm import Client, Reply, Request

REQUEST: Final = "request"  # a request reached the model
REPLY: Final = "reply"  # the model's answer to it came back
BEGAN: Final = "began"  # the evaluation of a trial began
ENDED: Final = "ended"  # it ended
CONSEQUENCES: Final = {REPLY: BEGAN, ENDED: REQUEST}  # of what a replay can hold back; the others follow from these

LONGEST_PAUSE: Final = 1.0  # seconds of a replay: an answer that took minutes is not waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`number` is that of the trial, or of the request in the order in which requests came, from 1; `seconds` count
    from the start of the run."""

    kind: str
    number: int
    seconds: float


class Recorder:
    """Writes down what happens. Threads may share it.

    Replies and ends pass one by one: each waits until the one before had its consequence, but not longer than
    `patience` seconds. So no prompt shows a state that lasted for a moment only, in which a replay would not be met
    again. Only the first `n_followed` ends have a consequence, another request: after them nothing is left to propose.
    """

    def __init__(self, n_followed: int, patience: float = 30.0) -> None:
        self._n_followed = n_followed
        self._patience = patience
        self._start = time.monotonic()
        self._changed = threading.Condition()  # guards what follows
        self._expected: str | None = None  # the consequence of the last reply or end, until it has come
        self._last = self._start  # when that was
        self.events: list[Event] = []

    def __call__(self, kind: str, number: int) -> None:
        with self._changed:
            if kind in CONSEQUENCES:
                self._wait_for_the_consequence()
                self._expected, self._last = self._consequence_of(kind), time.monotonic()
            elif kind == self._expected:
                self._expected = None
            seconds = round(time.monotonic() - self._start, 3)
            self.events.append(Event(kind=kind, number=number, seconds=seconds))
            self._changed.notify_all()

    def _wait_for_the_consequence(self) -> None:
        while self._expected and (left := self._last + self._patience - time.monotonic()) > 0:
            self._changed.wait(left)

    def _consequence_of(self, kind: str) -> str | None:
        if kind == ENDED:
            self._n_followed -= 1
            if self._n_followed < 0:
                return None
        return CONSEQUENCES[kind]


class Conductor:
    """Holds each reply and each end of an evaluation until all that came before it has happened. Threads share it.

    `speed`: how many times faster than the recording; a pause is never longer than `LONGEST_PAUSE`. What does not
    happen within `patience` seconds raises a `LookupError`, as does what the recording has not.
    """

    def __init__(self, events: Sequence[Event], speed: float, patience: float = 120.0) -> None:
        self._events = events
        self._places = {(event.kind, event.number): place for place, event in enumerate(events)}
        self._speed = speed
        self._patience = patience
        self._happened: set[tuple[str, int]] = set()
        self._changed = threading.Condition()  # guards what follows
        self._lost = ""  # why this is no replay any more: then nobody waits

    def __call__(self, kind: str, number: int) -> None:
        place = self._places.get((kind, number))
        if place is None:
            self.give_up(f"{kind} {number} is not in the recording")
        elif kind in CONSEQUENCES:
            self._wait_for_all_before(place)
            time.sleep(self._pause_before(place))
        with self._changed:
            if self._lost:
                raise LookupError(f"the run has gone another way than the recording: {self._lost}")
            self._happened.add((kind, number))
            self._changed.notify_all()

    def give_up(self, reason: str) -> None:
        """Let everybody who waits go on to a `LookupError`; the first reason counts."""
        with self._changed:
            self._lost = self._lost or reason
            self._changed.notify_all()

    def _wait_for_all_before(self, place: int) -> None:
        needed = {(event.kind, event.number) for event in self._events[:place]}
        with self._changed:
            in_time = self._changed.wait_for(lambda: self._lost or needed <= self._happened, self._patience)
            missing = min(needed - self._happened, key=self._places.__getitem__, default=None)
        if not in_time and missing is not None:
            self.give_up(f"{missing[0]} {missing[1]} did not come")

    def _pause_before(self, place: int) -> float:
        """What passed since the event before, in the replay's time."""
        before = self._events[place - 1].seconds if place else 0.0
        return min(LONGEST_PAUSE, (self._events[place].seconds - before) / self._speed)


class InTurn:
    """A client whose requests and replies go through a recorder or a conductor."""

    def __init__(self, client: Client, happens: Callable[[str, int], None]) -> None:
        self._client = client
        self._happens = happens
        self._n_requests = 0

    def __repr__(self) -> str:
        return repr(self._client)

    async def complete(self, request: Request) -> Reply:
        self._n_requests += 1
        number = self._n_requests
        self._happens(REQUEST, number)  # which never waits
        reply = await self._client.complete(request)
        await asyncio.to_thread(self._happens, REPLY, number)
        return reply

    async def aclose(self) -> None:
        await self._client.aclose()
