"""A cluster on this machine, for whoever has none: processes that end with this one, and know no keys."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from contextlib import ExitStack, suppress
from typing import Final

from ..child import end_with
from ..process import environment
from .library import distributed

# What the interpreter of the scheduler runs: modules are found as here before the first of ours is imported.
START_CLUSTER: Final = f"""
import sys
sys.path[:] = dict.fromkeys([*sys.argv[5:], *sys.path])
from {__package__}.cluster import serve_cluster
serve_cluster(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
"""


def serve_cluster(workers: int, lifeline: int, answer: int, folder: str) -> None:
    """Be a scheduler and its workers, on loopback, until the process that asked for them is gone."""
    end_with(lifeline)
    with distributed().LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        memory_limit=0,  # objectives are in processes of their own, whose memory Dask does not see
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",  # none would be port 8787, where a cluster of the user's may be
        local_directory=folder,
    ) as cluster:
        with os.fdopen(answer, "w") as pipe:
            pipe.write(cluster.scheduler_address)
        threading.Event().wait()


class OwnCluster:
    """A scheduler and `workers` workers of one thread, in a session of their own; starting takes seconds."""

    def __init__(self, workers: int) -> None:
        with ExitStack() as if_it_fails, ExitStack() as theirs:
            folder = tempfile.TemporaryDirectory(prefix="optuna-llm-dask-", ignore_cleanup_errors=True)
            if_it_fails.callback(folder.cleanup)
            lifeline_there, lifeline = os.pipe()
            if_it_fails.callback(os.close, lifeline)
            theirs.callback(os.close, lifeline_there)
            answer, answer_there = os.pipe()
            with os.fdopen(answer) as pipe:
                try:
                    process = subprocess.Popen(
                        [sys.executable, "-P", "-c", START_CLUSTER]
                        + [str(workers), str(lifeline_there), str(answer_there), folder.name]
                        + [path for path in sys.path if isinstance(path, str)],
                        stdin=subprocess.DEVNULL,
                        env=environment({}, os.environ, workers),
                        pass_fds=(lifeline_there, answer_there),
                        start_new_session=True,
                    )
                finally:
                    os.close(answer_there)
                if_it_fails.callback(_end_cluster, process)
                self.address = pipe.read()
            if not self.address:
                raise RuntimeError("the local cluster did not start: what it printed says why")
            if_it_fails.pop_all()
        self._end = weakref.finalize(self, _close_cluster, process, lifeline, folder)

    def close(self) -> None:
        """End all of its processes, with whatever they run."""
        self._end()


def _close_cluster(process: subprocess.Popen[bytes], lifeline: int, folder: "tempfile.TemporaryDirectory[str]") -> None:
    _end_cluster(process)
    os.close(lifeline)
    folder.cleanup()


def _end_cluster(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except PermissionError:  # macOS: of a group with a process that has ended and is not waited for
            process.kill()
    process.wait()
