"""`"plain"`: the history and nothing else."""

from typing import Final

from .strategy import Guidance, Situation


class Plain:
    """Every ask is the same question; what a model makes of the rows alone."""

    name: Final = "plain"

    def guide(self, situation: Situation) -> Guidance:
        """No role, no region, no summary."""
        return Guidance(strategy=self.name)
