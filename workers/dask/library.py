"""Dask's library: imported when it is first needed."""

from typing import Any

from ...engine.errors import UsageError


def distributed() -> Any:
    """The module `distributed`; raises `UsageError` if it is not installed."""
    try:
        import distributed
    except ImportError as error:
        raise UsageError("DaskWorkers needs Dask: `pip install 'optuna-llm[dask]'`") from error
    return distributed
