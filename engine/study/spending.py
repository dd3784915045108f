"""What was spent on asking that no trial has on record: on proposals given up, and on asks that failed."""

import threading

from ..records import Charge

A_NANODOLLAR = 1e-9  # sums of prices differ by rounding: so little is no reason for a write


class UntrackedSpending:
    """The sum for one study and one sampler, and how much of it the study holds already.

    `own` are the runs and tokens whose spending this process counts itself, so that it is not counted again where
    trials report it. The account of the client owns the set, and hands it to all that need it. It is only used by `add`
    and `in`, which are atomic: no lock.
    """

    def __init__(self, own: set[str] | None = None) -> None:
        self.own = set() if own is None else own
        self._lock = threading.Lock()  # guards both sums: `_saved` is a value that `_total` once had
        self._total = self._saved = Charge()

    def __repr__(self) -> str:
        return f"UntrackedSpending({self._total}, saved {self._saved})"

    def add(self, charge: Charge) -> None:
        """Add what no trial will have on record."""
        with self._lock:
            self._total += charge

    def unsaved(self) -> Charge | None:
        """The total, or None if the study already holds it."""
        with self._lock:
            grown = self._total - self._saved
            return self._total if grown.requests or grown.tokens or grown.usd > A_NANODOLLAR else None

    def mark_saved(self, total: Charge) -> None:
        """The study holds this total now."""
        with self._lock:
            self._saved = total
