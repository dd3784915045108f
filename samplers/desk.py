"""What a sampler keeps of one study: what is in flight, and caches that all follow from the study."""

import uuid

from optuna import Study

from ..engine.records import SearchSpace
from ..engine.study.journal_repair import guard_journal
from ..engine.study.ledger import Ledger
from .discovery import Discovery
from .limits.budget import Account
from .limits.stack import ClientStack
from .memory import Memory
from .space.axes import Axes
from .space.space import Space, make_space
from .view.duplicates import Index
from .view.finished_rows import Digest
from .view.in_flight_rows import Flight
from .view.observations import Evidence
from .view.other_spending import Elsewhere

MEMORIES = 8  # sets of columns that are remembered; more than a study has, unless its space changes


class Desk:
    """One study, as one sampler in this process sees it."""

    def __init__(self, study: Study, line: ClientStack, account: Account) -> None:
        self.storage = study._storage  # kept, so that no other storage can get its id
        self.line = line
        self.account = account
        self.token = uuid.uuid4().hex[:12]  # not the account's: what two samplers owe is written side by side
        account.runs.add(self.token)
        self.ledger = Ledger(account.runs)
        key, limiter = (id(self.storage), study._study_id), line.limiter
        guard_journal(self.storage)
        self.ledger.reads_attributes = True  # they say who else works on the study, and what was spent
        self.ledger.on_share = lambda processes: limiter.set_processes(key, processes)
        if account.capped:
            elsewhere, ledger = Elsewhere(account.runs), self.ledger
            # Not `self`: an account lives as long as its client, and a desk holds the client.
            account.watch(key, lambda: elsewhere.update(ledger.snapshot()))
        self.discovery = Discovery()
        self._direction = study.direction
        self._columns: tuple[SearchSpace, Space] | None = None
        self._memories: dict[Space, Memory] = {}

    def space(self, columns: SearchSpace) -> Space:
        """The columns of an ask, checked once as long as they are the same object."""
        if self._columns is None or self._columns[0] is not columns:
            self._columns = (columns, make_space(columns))
        return self._columns[1]

    def memory(self, columns: Space) -> Memory:
        """The memory for one set of columns; only used on the LLM loop."""
        memory = self._memories.pop(columns, None)
        if memory is None:
            known, axes = columns.distributions, Axes(columns)
            memory = Memory(
                latest=self.ledger.snapshot,
                digest=Digest(tuple(known), self._direction),
                flight=Flight(known, axes.places),
                index=Index(known),
                evidence=Evidence(axes, self._direction),
            )
        self._memories[columns] = memory  # the newest last
        if len(self._memories) > MEMORIES:
            del self._memories[next(iter(self._memories))]
        return memory
