"""What a proposal is asked to do for the study; its role stands on the trial."""

from typing import Final

PROPOSE: Final = "propose"
FIRST_GUESS: Final = "first guess"
EXPLORE: Final = "explore"
REFINE: Final = "refine"
COMBINE: Final = "combine"
DISCOVERY: Final = "discovery"
