"""The model's side of a cell: recorded, counted, and answered anew from what was recorded."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna_llm import Client, ClientError, ReplayClient, Reply, Request, UsageError
from optuna_llm.samplers.space.menu_reply import OR_NONE, declines
from optuna_llm.samplers.space.reply import parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What asking took: requests, re-asks among them, tokens, US dollars (None when unknown) and seconds of latency.

    `exchanges` are proposals that were asked for and answered, however often they had to be asked for anew.
    """

    calls: int = 0
    exchanges: int = 0
    reasks: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost: float | None = 0.0
    latency: float = 0.0


class Counted:
    """A client that knows how many requests are being answered at the moment."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.asked = 0

    def __repr__(self) -> str:
        return repr(self._client)

    async def complete(self, request: Request) -> Reply:
        self.asked += 1
        try:
            return await self._client.complete(request)
        finally:
            self.asked -= 1

    async def aclose(self) -> None:
        """Close connections, and wait for the last line of a recording; the model may be asked again afterwards."""
        await self._client.aclose()


class Replayed:
    """Answers from several recordings of one cell, each of which holds a part of its run."""

    def __init__(self, paths: Sequence[Path]) -> None:
        if not paths:
            raise UsageError("this cell has no recording to be replayed")
        self._clients = [ReplayClient(path) for path in paths]

    def __repr__(self) -> str:
        return f"Replayed({len(self._clients)})"

    async def complete(self, request: Request) -> Reply:
        for client in self._clients[:-1]:
            try:
                return await client.complete(request)
            except ClientError as error:
                if type(error) is not ClientError:  # one that was recorded; an unknown request is a plain one
                    raise
        return await self._clients[-1].complete(request)

    async def aclose(self) -> None:
        """Nothing is held."""


def recordings(folder: Path) -> list[Path]:
    """A cell's recordings in the order in which they were made."""
    return sorted(folder.glob("recording-*.jsonl"), key=lambda path: int(path.stem.split("-")[1]))


def set_aside(folder: Path) -> None:
    """Move a cell's recordings, if it has any, to a new folder `earlier-N` in its own."""
    if paths := recordings(folder):
        place = folder / f"earlier-{len(list(folder.glob('earlier-*'))) + 1}"
        place.mkdir()
        for path in paths:
            path.rename(place / path.name)


def totals(paths: Sequence[Path]) -> Totals:
    """What the recordings say that asking took.

    An exchange begins with the shortest kind of conversation, and goes on where a menu was declined.
    """
    requests: list[Mapping[str, Any]] = []
    replies: list[Mapping[str, Any]] = []
    answered = without_menu = 0
    for path in paths:
        events = _events(path)
        asked = {event["id"]: event["request"] for event in events if event["event"] == "request"}
        ended = {event["id"]: event["reply"] for event in events if event["event"] == "reply"}
        shortest = min((len(request["messages"]) for request in asked.values()), default=0)
        without = {number for number, reply in ended.items() if declined(asked[number], reply)}
        answered += sum(len(asked[number]["messages"]) == shortest for number in ended.keys() - without)
        without_menu += len(without)
        requests += asked.values()
        replies += ended.values()
    usages = [reply.get("usage") or {} for reply in replies]
    costs = [usage.get("cost") for usage in usages]
    return Totals(
        calls=len(requests),
        exchanges=answered,
        reasks=len(replies) - answered - without_menu,
        prompt_tokens=sum(usage.get("prompt_tokens", 0) for usage in usages),
        completion_tokens=sum(usage.get("completion_tokens", 0) for usage in usages),
        cached_tokens=sum(usage.get("cached_tokens", 0) for usage in usages),
        cost=None if None in costs else float(sum(cost for cost in costs if cost is not None)),
        latency=float(sum(reply.get("latency") or 0.0 for reply in replies)),
    )


def declined(request: Mapping[str, Any], reply: Mapping[str, Any]) -> bool:
    """Whether a reply on file took none of a menu: the same proposal was asked for once more, freely."""
    keys = [key for key, part in request["schema"]["properties"].items() if part.get("description") == OR_NONE]
    values = parse(reply["text"]).values or {}
    return any(declines(values, key) for key in keys)


def _events(path: Path) -> list[Mapping[str, Any]]:
    """The events of a recording, without its header; a last line that a crash cut off is left out."""
    lines = path.read_text(encoding="ascii").split("\n")
    try:
        last = [json.loads(lines[-1])]
    except ValueError:
        last = []
    return [json.loads(line) for line in lines[1:-1]] + last[: len(lines) - 1]
