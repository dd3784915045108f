"""`"menu"`: a few values for each parameter, drawn in the region of the ask's role; the model chooses among them."""

from typing import Final

from .forms import formed
from .planning import role_of
from .strategy import Guidance, Situation


class Menu:
    """Narrows the choice to what a small model can weigh."""

    name: Final = "menu"

    def guide(self, situation: Situation) -> Guidance:
        """A role by the study's progress, and its menu."""
        return formed(self.name, situation, role_of(situation), "menu")
