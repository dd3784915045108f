"""Keeps what one sampler spends on one study in that study, and in sight what others spend on it and who they are.

Other processes, and whoever goes on after a crash, know of nothing but what is in the study. What becomes a trial is
written with it. The rest is written within seconds, and before the next request where a budget depends on it.
"""

import asyncio
import contextlib
import math
import weakref
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from optuna import Study

from ...engine.foreign_text import summary
from ...engine.logs import get_logger
from ...engine.records import Charge, Proposal
from ...engine.study.door import StudyDoor
from ...engine.study.state import ABOUT_TO_SECONDS, StudyState
from ...engine.threads import JobThread
from ..client import llm_loop
from .budget import Account
from .limiter import Limiter

# After so many failures the next spending begins anew: the study may be gone for good.
SAVE_ATTEMPTS: Final = 5

# How old a reading of the study may be, in seconds. What others send meanwhile exceeds a budget: less than a request
# takes. Of rates only the number of processes is read, and only runs that begin change it.
BUDGET_AGE: Final = 0.1
RATES_AGE: Final = 1.0

# Longer than any storage needs that works; a request waits for it.
STORAGE_SECONDS: Final = 10.0

T = TypeVar("T")

logger = get_logger("optuna_llm.samplers")


class Books:
    """The books of one sampler and one study; used on the LLM loop.

    They hold the study only while something is to be written: a study ends with its connections when its user drops it.
    A study that no other process can see is left to its door, which writes when a trial is told and at the end.
    """

    def __init__(self, account: Account, limiter: Limiter) -> None:
        self._account = account
        self._limiter = limiter
        self._begin(None)

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Start with nothing under way: on the first loop, or on the first after a fork."""
        self._loop = loop
        self._saving = False  # whether `_save_later` is under way
        self._thread: JobThread | None = None

    def __repr__(self) -> str:
        return f"Books(saving={self._saving})"

    def spend(self, door: StudyDoor, charge: Charge) -> None:
        """Add what a request took that came to nothing; it is in the study within seconds."""
        door.spent.add(charge)
        self._save_soon(door)

    def expect(self, door: StudyDoor, proposal: Proposal, charge: Charge) -> None:
        """Add what a proposal took; it is in the study within seconds, with its trial or without one."""
        door.spent.expect(proposal, charge)
        self._save_soon(door)

    def _save_soon(self, door: StudyDoor) -> None:
        self._follow_loop()
        if door.is_shareable and not self._saving:
            with contextlib.suppress(RuntimeError):  # the interpreter exits: who runs the study writes the rest
                llm_loop.submit(partial(self._save_later, weakref.ref(door.study), weakref.ref(door.state), door.token))
                self._saving = True

    async def balance(self, door: StudyDoor) -> None:
        """Before a request: write what is not written yet, and read what is too old, as far as anything depends on it.

        A storage that fails is logged: what is known has to do, and the run, which needs the storage next, will say so.
        """
        if not door.is_shareable:
            return
        unsaved = self._account.capped and door.spending.unsaved() is not None
        if unsaved or door.state.age() > self._oldest():
            self._follow_loop()
            await self._in_thread(partial(self._balance, door))

    def _oldest(self) -> float:
        if self._account.capped:
            return BUDGET_AGE
        return RATES_AGE if self._limiter.limited else math.inf

    def _balance(self, door: StudyDoor) -> None:
        if self._account.capped:
            door.save_spending()
        door.catch_up(self._oldest())

    async def _save_later(self, study: "weakref.ref[Study]", state: "weakref.ref[StudyState]", token: str) -> None:
        """Write until all is written, or the study is dropped: whoever dropped it was told, and wrote, what it cost."""
        failures = 0
        try:
            while failures < SAVE_ATTEMPTS:
                await asyncio.sleep(ABOUT_TO_SECONDS * 2**failures)
                living, known = study(), state()
                if living is None or known is None or known.spending.is_settled:
                    return
                saved = await self._in_thread(StudyDoor(living, known, token=token).save_spending)
                del living, known  # held while there is something to write alone
                failures = 0 if saved else failures + 1
        finally:
            self._saving = False

    async def _in_thread(self, job: Callable[[], T]) -> T | None:
        """What the job gives; None if it fails, or takes too long."""
        if self._thread is None:
            self._thread = JobThread("optuna-llm books")  # a daemon: a storage that hangs keeps no process from its end
            weakref.finalize(self, self._thread.close)
        try:
            return await asyncio.wait_for(self._thread.run(job), STORAGE_SECONDS)
        except Exception as error:
            logger.warning("The study's records of what was spent could not be brought up to date: %s", summary(error))
            return None

    def _follow_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._begin(loop)
