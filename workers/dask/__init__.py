"""Runs objectives on a cluster of Dask's: `workers` at the run, `host` in the cluster, `conversation` between them."""

from .workers import DaskWorkers

__all__ = ["DaskWorkers"]
