"""`"plain"`: the history and nothing else."""

from typing import Final

from ..roles import PROPOSE
from .strategy import Guidance, Situation


class Plain:
    """Every ask is the same question, in the same role; what a model makes of the rows alone."""

    name: Final = "plain"

    def __init__(self, role: str = PROPOSE) -> None:
        self._role = role

    def guide(self, situation: Situation) -> Guidance:
        """No region, no summary."""
        return Guidance(strategy=self.name, role=self._role)
