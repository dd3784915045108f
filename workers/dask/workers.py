"""Runs plain functions on a Dask cluster: on more than one machine, or on a local one of its own."""

import asyncio
import threading
import uuid
import weakref
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final, Self

import anyio

from ...engine.arguments import number
from ...engine.errors import THIS_RUN, UsageError, about
from ...engine.outcome import Outcome, failed
from ...engine.protocols import WorkerCapabilities
from ...engine.records import Call
from ...engine.study.lanes import stoppable
from ...engine.threads import JobThread, on_this_loop, outside_of_loops, unwrapped, wait_future
from ..pool import Pickles
from ..process import available_cpus
from .cluster import OwnCluster
from .conversation import AttemptCall, Conversation
from .library import distributed


class DaskWorkers:
    """Runs plain objectives on the cluster of a `distributed.Client`, by default on one of its own on this machine.

    `client` may be asynchronous, on the caller's loop or another one, or not. Objectives may be closures, lambdas, or
    functions of a script or notebook: they are pickled by value (cloudpickle). Their trial has Optuna's interface; its
    calls travel over the scheduler and are answered here, so pruners see one study on any storage. Model, keys and
    storage stay here. The workers need this library, in the same version.

    Each objective runs in a process that its Dask worker starts: `trial_timeout` kills that, a crash fails its trial
    and no other. A trial whose Dask worker is lost is run again on another one, as often as Dask's
    `distributed.scheduler.allowed-failures`; then it has failed. Where the scheduler is gone, the run ends with
    `WorkerError`.

    `slots` is how many trials are at the cluster at once, by default its threads when a run begins; those that it has
    no room for wait there, and their time does not count. `resources` is what each trial takes of what Dask workers
    were started with, such as `{"GPU": 1}`.

    `aclose()`, `close()` or the end of `async with` ends a cluster of one's own, and leaves a given client open. Raises
    `UsageError` for arguments that cannot be meant.
    """

    capabilities: Final = WorkerCapabilities(ends_at_once=True, awaits=False, says_start=True)

    def __init__(
        self, client: Any = None, *, slots: int | None = None, resources: Mapping[str, float] | None = None
    ) -> None:
        if client is not None and not (hasattr(client, "submit") and hasattr(client, "subscribe_topic")):
            raise UsageError(f"client must be a distributed.Client, not {client!r}")
        self._slots = number("slots", slots, low=1, whole=True, optional=True)
        self._resources = _resources(resources)
        if client is None and resources:
            raise UsageError("resources are those of a cluster's workers: pass the client of one that has them")
        self._client = client
        self._pickles = Pickles()
        self._lock = threading.Lock()  # invariant: whoever holds it is the only one that starts or ends a cluster
        self._cluster: OwnCluster | None = None
        self._link: ClusterLink | None = None

    def __repr__(self) -> str:
        where = "a cluster of its own" if self._client is None else repr(self._client)
        return f"DaskWorkers({where}, slots={self.slots})"

    @property
    def slots(self) -> int | None:
        """How many trials are at the cluster at once; by default its threads, as far as they are known by now."""
        if self._slots is not None or self._client is None:
            return self._slots or available_cpus()
        return _threads(self._client)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def run(self, call: Call) -> Outcome:
        """Run the objective on the cluster; cancellation ends it there within a fraction of a second."""
        call.patience.lend_to(call.trial)
        starts = Starts()
        thread = JobThread("optuna-llm Dask trial", stoppable(call.trial.study))
        try:
            link = await thread.run(self._linked)
            objective = await thread.run(self._pickles.of, call)
            conversation = Conversation(link.client, call.trial, objective, thread, starts.said)
            with unwrapped():
                async with anyio.create_task_group() as group:
                    group.start_soon(starts.tell, call.started)
                    outcome: Outcome = await wait_future(
                        link.start(conversation, call.lane, objective, self._resources)
                    )
                    group.cancel_scope.cancel()
            return outcome
        except UsageError as error:
            return failed(error)
        finally:
            thread.close()

    async def aclose(self) -> None:
        """End the cluster if it is one's own; the next run starts a new one."""
        thread = JobThread("optuna-llm Dask end")
        try:
            await thread.run(self.close)
        finally:
            thread.close()

    def close(self) -> None:
        """Do as `aclose` does, and wait; not on the loop of an asynchronous client."""
        with self._lock:
            link, self._link = self._link, None
            if link is not None:
                link.leave()
            self._end_own(link)

    def _linked(self) -> "ClusterLink":
        """The link to the cluster; starts a cluster where there is none, or where it died."""
        with self._lock:
            if self._link is None or not self._link.alive:
                self._end_own(self._link)
                self._link = ClusterLink(self._own_client() if self._client is None else self._client)
            return self._link

    def _own_client(self) -> Any:
        library = distributed()
        self._cluster = OwnCluster(self._slots or available_cpus())
        return library.Client(self._cluster.address, set_as_default=False)

    def _end_own(self, link: "ClusterLink | None") -> None:
        if self._client is None and link is not None:
            link.client.close()
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None


class Starts:
    """Carries the start of an objective, and of each further attempt at it, from the client's loop to the run's."""

    def __init__(self) -> None:
        self._call_soon = on_this_loop()
        self._event = anyio.Event()

    def said(self) -> None:
        """An objective begins; from any thread."""
        self._call_soon(lambda: self._event.set())

    async def tell(self, started: Callable[[], None]) -> None:
        """Call `started` whenever an objective begins, on the run's loop."""
        while True:
            await self._event.wait()
            self._event = anyio.Event()
            started()


class ClusterLink:
    """What one client needs for trials: a topic on which their calls come, and the objectives of runs.

    The processes that run objectives wait for more for as long as this, or its client, holds a certain task's result.

    All but `start`, `alive` and `leave` happens on the client's loop. Raises `UsageError` for a client that does not
    work.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self.topic = f"optuna-llm-{uuid.uuid4().hex}"
        self._conversations: dict[str, Conversation] = {}
        self._names: weakref.WeakKeyDictionary[JobThread, tuple[bytes, str]] = weakref.WeakKeyDictionary()
        self._loop: asyncio.AbstractEventLoop = client.loop.asyncio_loop
        if not self.alive:
            with about(THIS_RUN):
                raise UsageError(f"the Dask client is {client.status!r}: pass one that is connected")
        client.subscribe_topic(self.topic, self._hear)
        self._owner = client.submit(bytes, key=f"optuna-llm-owner-{uuid.uuid4().hex}", pure=False)

    @property
    def alive(self) -> bool:
        """Whether the client is connected, and its loop runs."""
        return self.client.status == "running" and self._loop.is_running()

    def start(
        self, conversation: Conversation, lane: JobThread, objective: bytes, resources: Mapping[str, float]
    ) -> Any:
        """Have a conversation run on the client's loop; returns a future of its outcome, which cancels it."""
        return _on(self._loop, lambda: self._run(conversation, lane, objective, resources))

    def leave(self) -> None:
        """Hear nothing more, and let the cluster end the processes that wait for trials."""
        self._owner.release()
        if self.alive:
            with suppress(ValueError):
                self.client.unsubscribe_topic(self.topic)

    async def _run(
        self, conversation: Conversation, lane: JobThread, objective: bytes, resources: Mapping[str, float]
    ) -> Outcome:
        self._conversations[conversation.key] = conversation
        try:
            return await conversation.run(self._name(lane, objective), self.topic, self._owner.key, resources)
        finally:
            del self._conversations[conversation.key]

    def _name(self, lane: JobThread, objective: bytes) -> str:
        """What the cluster calls the objective of a run."""
        known = self._names.get(lane)
        if known is None or known[0] is not objective:
            known = self._names[lane] = objective, uuid.uuid4().hex
        return known[1]

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        heard = AttemptCall(**event[1])
        conversation = self._conversations.get(heard.trial)
        if conversation is not None:
            conversation.hear(heard)


def _on(loop: asyncio.AbstractEventLoop, job: Callable[[], Coroutine[Any, Any, Outcome]]) -> Any:
    coroutine = job()
    try:
        return outside_of_loops().run(asyncio.run_coroutine_threadsafe, coroutine, loop)
    except RuntimeError:  # the loop has been closed since
        coroutine.close()
        raise


def _threads(client: Any) -> int | None:
    """Threads of a cluster as its client last heard of them; None if it has not."""
    return client.scheduler_info(n_workers=0).get("total_threads") or None


def _resources(resources: Mapping[str, float] | None) -> Mapping[str, float]:
    """A copy of what a trial takes; raises `UsageError` for what is no amount."""
    for name, amount in (resources or {}).items():
        if not isinstance(name, str):
            raise UsageError(f"resources must map names to amounts, not {resources!r}")
        number(f"resources[{name!r}]", amount, positive=True)
    return dict(resources or {})
