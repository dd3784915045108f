"""Figures as a data card writes them: as many digits as help to choose, and no more."""

import math

PLAIN_BELOW = 1e5  # from here on, and below its inverse, a power of ten is read more easily


def percent(share: float) -> str:
    """A share as a percentage; what is not quite nothing or all is not called so."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    if 0.999 < share < 1:
        return "over 99.9 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def short(value: float, digits: int = 3) -> str:
    """A number with few significant digits."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if 1 / PLAIN_BELOW <= abs(value) < PLAIN_BELOW:
        rounded = float(f"{value:.{digits - 1}e}")
        return f"{rounded:.{digits}g}" if abs(rounded) < 10**digits else f"{rounded:.0f}"
    return f"{value:.{digits - 1}e}"
