"""`"guided"`: a role and a region in words, different for asks that are in flight together."""

from typing import Final

from .forms import formed
from .planning import role_of
from .strategy import Guidance, Situation


class Guided:
    """Tells the model what this ask is for and where to look; the values are its own."""

    name: Final = "guided"

    def guide(self, situation: Situation) -> Guidance:
        """A role by the study's progress, and its region in words."""
        return formed(self.name, situation, role_of(situation), "words")
