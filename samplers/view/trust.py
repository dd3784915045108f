"""How far from the best configuration to look: a region that grows on success and shrinks on failure.

After the trust regions of TuRBO (Eriksson et al., "Scalable Global Optimization via Local Bayesian Optimization",
2019), with factors for budgets of tens of trials instead of thousands.
"""

from dataclasses import dataclass

START = 0.5
LARGEST = 0.8
SMALLEST = 0.04
GROWTH = 1.4
SHRINKAGE = 0.6
PATIENCE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """`length` is the side of the region, as a share of each axis; `failures` in a row that it has stood."""

    length: float = START
    failures: int = 0

    def after(self, *, improved: bool) -> "Trust":
        """The region once one more trial in it has finished; one that has shrunk to nothing starts anew."""
        if improved:
            return Trust(length=min(LARGEST, self.length * GROWTH))
        if self.failures + 1 < PATIENCE:
            return Trust(length=self.length, failures=self.failures + 1)
        length = self.length * SHRINKAGE
        return Trust(length=START if length < SMALLEST else length)
