"""The door to Optuna's storage: reads become snapshots, proposals become trials, outcomes are told.

Everything here blocks; the engine calls it on its storage thread.
"""

from .study_door import StudyDoor

__all__ = ["StudyDoor"]
