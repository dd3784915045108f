"""The door as others use it: how a study is read, how its trials begin and end, and what was spent on it."""

from dataclasses import asdict

from ...foreign_text import summary
from ...logs import get_logger
from ..attributes import SPENDING_PREFIX
from .beginnings import TrialBeginnings
from .endings import TrialEndings

logger = get_logger("optuna_llm.engine")


class StudyDoor(TrialBeginnings, TrialEndings):
    """One study, as this process reads and writes it, whatever a pruner filters; safe to use from several threads.

    All doors with one `state` share what is in flight. `key` tells the study from others in this process. `token` names
    who spends through this door; without one nothing is asked of a model, and the study's own attributes are not read.
    """

    def __repr__(self) -> str:
        now = self.snapshot()
        return (
            f"StudyDoor({self.study.study_name!r}, finished={len(now.finished)}, running={len(now.running)}, "
            f"waiting={len(now.waiting)}, reserved={len(now.reserved)})"
        )

    def save_spending(self) -> bool:
        """Store what was spent that no trial has on record; says whether the study holds it now.

        A storage that fails here ends no run: the amount stays unsaved, and is written the next time.
        """
        with self.spending.writing:
            total = self.spending.unsaved()
            if total is None:
                return True
            try:
                self.write_attribute(f"{SPENDING_PREFIX}{self.token}", asdict(total))
            except Exception as error:
                logger.warning("What was spent without a trial (%s) is not in the study yet: %s", total, summary(error))
                return False
            self.spending.mark_saved(total)
            return True
