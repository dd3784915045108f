"""One study as this process reads it, and its attributes as it writes them."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from optuna import Study, Trial
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ...foreign_text import summary
from ...logs import get_logger
from ...records import EMPTY
from ..attributes import RUN_ATTRIBUTE
from ..journal_repair import patience_with
from ..optuna_internals import id_of, study_key, unfiltered
from ..snapshot import Snapshot
from ..state import SpentHere, StudyState

logger = get_logger("optuna_llm.engine")


class StudyAccess:
    """One study in storage, and what this process knows of it; safe to use from several threads.

    See `StudyDoor` for the arguments.
    """

    def __init__(self, study: Study, state: StudyState | None = None, *, token: str = "") -> None:
        self.study = study = unfiltered(study)
        self.state = StudyState() if state is None else state
        self.token = token
        self.in_flight = self.state.in_flight
        self.spending, self.spent = self.state.spending, SpentHere(self.state.spending)
        self.sharing = self.state.sharing
        self.snapshot = self.state.snapshot  # the last reading with what is in flight now; touches no storage
        self.key = study_key(study)
        self._storage, self._study_id = study._storage, study._study_id
        self.patience = patience_with(self._storage, self.key)

    @property
    def is_shareable(self) -> bool:
        """Whether other processes can work on the study at all; what is in memory dies with its process."""
        return not isinstance(self._storage, InMemoryStorage)

    def refresh(self) -> Snapshot:
        """Read the study from storage."""
        with self.state.reading:
            attributes = self.read_attributes() if self.token else EMPTY
            return self.state.update(self._storage.get_all_trials(self._study_id, deepcopy=False), attributes)

    def recent(self, seconds: float) -> Snapshot:
        """A snapshot that is at most `seconds` old: many who look at once share a reading."""
        with self.state.reading:
            if self.state.age() < seconds:
                return self.snapshot()
        return self.refresh()

    def catch_up(self, seconds: float) -> None:
        """Read the study if the last reading is older than `seconds`, and judge who works on it, if a run here does."""
        if self.state.age() > seconds:
            next(iter(tuple(self.sharing.readers.values())), self.refresh)()

    def read_attributes(self) -> Mapping[str, Any]:
        """The study's user attributes in storage."""
        return dict(self._storage.get_study_user_attrs(self._study_id))

    def write_attribute(self, name: str, value: Any) -> None:
        """Store a user attribute of the study."""
        self._storage.set_study_user_attr(self._study_id, name, value)

    def stored(self, trial: Trial | FrozenTrial) -> FrozenTrial:
        """A trial as it is in storage now."""
        return self._storage.get_trial(id_of(trial))

    def reread(self, trial: Trial | FrozenTrial) -> FrozenTrial | None:
        """Take in a trial that was just written, and no other: listing a long study takes time in proportion to it.

        None if the reading fails: what was written stands, and the next reading shows it.
        """
        try:
            with self.state.reading:
                stored = self.stored(trial)
                known = self.state.update_one(stored)
            if not known:
                self.refresh()
        except Exception as error:
            logger.warning("The next reading will show what was written; the one after it failed: %s", summary(error))
            return None
        return stored

    def is_unsigned(self, trial: FrozenTrial) -> bool:
        """Whether an enqueued trial is RUNNING, and bears no run's id yet."""
        now = self.stored(trial)
        return now.state is TrialState.RUNNING and RUN_ATTRIBUTE not in now.system_attrs

    def is_waiting(self, trial: FrozenTrial) -> bool:
        """Whether an enqueued trial is still to be had."""
        return self.stored(trial).state is TrialState.WAITING

    @cached_property
    def direction(self) -> StudyDirection:
        """Which values are better; read once."""
        return self.study.direction

    def best(self) -> FrozenTrial | None:
        """The best trial as far as the study was read, None while none is complete."""
        history = self.state.history
        return history.highest if self.direction is StudyDirection.MAXIMIZE else history.lowest

    def metric_name(self) -> str | None:
        """The name of the value, if `study.set_metric_names` gave one."""
        return next(iter(self.study.metric_names or ()), None)

    def _set_user_attr(self, trial: Trial | FrozenTrial, name: str, value: Any) -> None:
        self._storage.set_trial_user_attr(id_of(trial), name, value)
