"""Parameters' names: those that are declared, those that objectives ask for, and what to say where they differ."""

import difflib
from collections.abc import Callable, Collection, Iterable
from typing import Final

from .errors import THIS_RUN, UsageError
from .logs import counted

# A name that so many complete trials did without is hardly a rare branch of a conditional space.
ENOUGH_TRIALS: Final = 10


class AskedNames:
    """What one trial's objective asks for, where a search space is declared; `also` are names that have values anyway.

    `refused` is the error that the objective got for a name outside. Whoever reads all parameters at once asks for all.
    """

    def __init__(self, declared: Collection[str], also: Collection[str] = ()) -> None:
        self.declared = declared
        self.refused: UsageError | None = None
        self.asked: set[str] = set()
        self._also = also

    def ask(self, name: str) -> None:
        """Take note of a name; raises `UsageError` for one outside, again and again if need be."""
        if name not in self.declared and name not in self._also:
            self.refused = undeclared(name, self.declared)
            raise self.refused
        self.asked.add(name)

    def ask_for_all(self) -> None:
        """Take note that the objective looks at all parameters."""
        self.asked.update(self.declared)


class UnaskedNames:
    """Names that no trial has asked for, counted over the trials of a run or of a study.

    `words` says what is wrong with those that are left after so many complete trials.
    """

    def __init__(self, names: Iterable[str], words: Callable[[Collection[str], int], str] | None = None) -> None:
        self._left = list(dict.fromkeys(names))
        self._words = words or unasked
        self._seen = 0
        self._said = False

    def saw(self, asked: Collection[str], *, complete: bool) -> None:
        """Count a trial that asked for these names; one that did not complete may have ended before it asked."""
        if self._left:
            self._left = [name for name in self._left if name not in asked]
        self._seen += complete

    def news(self, *, over: bool = False) -> str | None:
        """What to say now, once: when enough trials have shown it, or when what is counted is `over`."""
        if self._said or not self._left or self._seen < (1 if over else ENOUGH_TRIALS):
            return None
        self._said = True
        return self._words(self._left, self._seen)


def undeclared(name: str, declared: Collection[str]) -> UsageError:
    """The error for a name that an objective asks for and no search space declares."""
    error = UsageError(
        f"the parameter {name!r} is not in the search space {sorted(declared)!r}{close_to(name, declared)}: correct "
        "the name in the objective, or add it to `search_space=`, which is complete once it is given"
    )
    error.study = THIS_RUN
    return error


def unasked(names: Collection[str], trials: int) -> str:
    """What is said of declared names that so many complete trials did without."""
    return (
        f"No objective asked for {listed(names)} in {counted(trials, 'complete trial')}: the search space "
        "declares it, so each proposal chooses it. Correct the name, or take it out of the space; where only some "
        "branches need it, all is well"
    )


def without_space(names: Collection[str], known: Collection[str]) -> str:
    """What is said of meanings in `parameters=` whose names are not among the `known` ones."""
    return (
        f"parameters= says what {listed(names)} means, and there is no such name among {sorted(known)!r}"
        f"{''.join(close_to(name, known) for name in names)}: no prompt shows it"
    )


def close_to(name: str, known: Collection[str]) -> str:
    """A guess at what was meant, to be put into a sentence; empty without one."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def listed(names: Iterable[str]) -> str:
    """The names in quotes, one after the other."""
    return ", ".join(map(repr, names))
