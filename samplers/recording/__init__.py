"""Exchanges with a model on file, and a file in place of a model."""

from .recording_client import RecordingClient
from .replay_client import ReplayClient

__all__ = ["RecordingClient", "ReplayClient"]
