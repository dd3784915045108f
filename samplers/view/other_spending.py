"""What others have spent on a study, read from its own record: other processes, earlier runs, other samplers."""

from collections.abc import Set

from optuna.trial import FrozenTrial

from ...engine.records import Charge
from ...engine.study.attributes import charge_of, llm_of, untracked_charges
from ...engine.study.snapshot import Snapshot
from .following import Following


class OtherSpending(Following):
    """Sums up what trials say, and what was spent without a trial, except for what `runs` spent."""

    def __init__(self, runs: Set[str]) -> None:
        self._runs = runs
        super().__init__()

    def at(self, snapshot: Snapshot) -> Charge:
        """The sum as of `snapshot`."""
        self.update(snapshot.finished)
        untracked = untracked_charges(snapshot.attributes)
        charges = (charge for token, charge in untracked.items() if token not in self._runs)
        open_trials = map(self._of, (*snapshot.running, *snapshot.waiting, *snapshot.surplus))
        return sum((*open_trials, *charges), self._finished)

    def _clear(self) -> None:
        self._finished = Charge()

    def _add(self, trial: FrozenTrial) -> None:
        self._finished += self._of(trial)

    def _undo(self, trial: FrozenTrial) -> None:
        self._finished -= self._of(trial)

    def _of(self, trial: FrozenTrial) -> Charge:
        llm = llm_of(trial)
        run = llm.get("run")
        return Charge() if isinstance(run, str) and run in self._runs else charge_of(llm)
