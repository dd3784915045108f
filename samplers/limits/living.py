"""What limits and budgets look at of the studies that are asked for, as long as those are there."""

import threading
import weakref
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Living(Generic[T]):
    """Objects by key, which somebody else keeps: one that nobody keeps any more is gone.

    A limiter and an account may live as long as the process, and what they look at holds all trials of a study.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held while `_entries` is replaced: no other thread's entry is lost
        self._entries: tuple[tuple[Hashable, weakref.ref[T]], ...] = ()

    def __repr__(self) -> str:
        return f"Living({len(list(self))})"

    def add(self, key: Hashable, one: T) -> None:
        """Look at `one`; the latest that lives under a key counts."""
        with self._lock:
            living = [(key, ref) for key, ref in self._entries if ref() is not None]
            self._entries = (*living, (key, weakref.ref(one)))

    def __iter__(self) -> Iterator[T]:
        """Those that live at this moment, one a key; any thread may ask."""
        living = {key: one for key, ref in self._entries if (one := ref()) is not None}
        return iter(tuple(living.values()))
