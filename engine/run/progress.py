"""The progress bar: tqdm, which is Optuna's habit and dependency, and right in terminals and notebooks alike."""

from dataclasses import dataclass
from typing import Any, TextIO

from tqdm.auto import tqdm


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """Where a run stands: `proposing` asks are open, `cost` is in US dollars, None if unknown."""

    finished: int
    running: int
    proposing: int
    best: float | None
    calls: int
    tokens: int
    cost: float | None
    seconds: float

    def __str__(self) -> str:
        best = "-" if self.best is None else f"{self.best:.6g}"
        rate = self.calls / self.seconds * 60 if self.seconds > 0 else 0.0
        cost = "" if not self.cost else f", ${self.cost:.4f}"
        return (
            f"best {best}, {self.running} running, {self.proposing} waiting for the LLM, "
            f"{rate:.0f} calls/min, {self.tokens} tokens{cost}"
        )


class ProgressBar:
    """Shows a `RunProgress` on one line; silent where standard error is no terminal and no notebook."""

    def __init__(self, total: int | None, file: TextIO | None = None) -> None:
        self._bar: Any = tqdm(total=total, unit="trial", disable=None, dynamic_ncols=True, file=file)

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, progress: RunProgress) -> None:
        """Redraw."""
        self._bar.n = progress.finished
        self._bar.set_postfix_str(str(progress), refresh=False)
        self._bar.refresh()
