"""Write a study's report: one page that needs nothing beside it."""

import functools
import importlib
from os import PathLike
from pathlib import Path

from optuna.study import Study

from ..engine.errors import UsageError
from .baseline import baseline_of
from .figures import figures_of
from .findings import findings_of
from .page import page_of
from .page.packed import packed


def write_report(study: Study, path: str | PathLike[str], *, baseline: Study | None = None) -> Path:
    """Write what came of a study, and what that took, as one HTML page that works without a network.

    `baseline`: a study of the same objective by `RandomSampler`, for what a random search would have. Returns the path.
    Raises `UsageError` where Plotly is not installed, or the study has several objectives.
    """
    library = packed_library()
    findings = findings_of(study)
    points = None if baseline is None else baseline_of(study, baseline)
    page = page_of(findings, figures_of(findings, points), library, with_baseline=points is not None)
    target = Path(path)
    target.write_text(page, encoding="utf-8")
    return target


@functools.cache
def packed_library() -> str:
    """The element with the script that draws figures, which Plotly's Python package ships; packing it takes a while."""
    try:
        return packed("plotly", importlib.import_module("plotly.offline").get_plotlyjs())
    except ImportError as error:
        raise UsageError("a report needs Plotly: pip install 'optuna-llm[report]'") from error
