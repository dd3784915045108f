"""A model that answers through a folder: for measuring one that no program here can reach, or a person.

python -m benchmarks.quality --client hand:answers --tasks invented/kiln --methods adaptive --seeds 1 --out by-hand
python -m benchmarks.quality.by_hand next answers             # wait for a request that nobody has taken, and print it
python -m benchmarks.quality.by_hand answer answers 7 'JSON'  # hand in the reply to request 7, and wait for the next
python -m benchmarks.quality.by_hand stop answers             # tell everybody who waits that the run is over

What was answered is kept in `answers/`, a file for a study; from there the study runs again, without a model:

python -m benchmarks.quality --client answers:FILE --tasks invented/TASK --methods adaptive --first-seed SEED ...

A request is a file, and so is its reply. Several may answer one folder: each request goes to one of them. With W
workers let W answer, so that nobody knows what the others are asked at the same moment. Whoever answers sees prompts
alone.
"""

import argparse
import asyncio
import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from optuna_llm import FunctionClient, Request

POLL_SECONDS: Final = 0.2
GIVE_UP_SECONDS: Final = 3600.0  # a person may be at lunch
TURN_SECONDS: Final = 500.0  # below the ten minutes after which many shells end a command


def hand_client(folder: str | os.PathLike[str]) -> FunctionClient:
    """A client whose requests become files in `folder`, and whose replies are read from there.

    Numbers go on after those that the folder holds. A request that nobody answers within an hour is a `TimeoutError`.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    numbers = itertools.count(1 + max((_number(path) for path in place.glob("request-*.txt")), default=0))

    async def by_hand(request: Request) -> str:
        number = next(numbers)
        await asyncio.to_thread(_write, place / f"request-{number:05d}.txt", _shown(request))
        async with asyncio.timeout(GIVE_UP_SECONDS):
            # A reply comes from another process, which sets no event.
            while (text := await asyncio.to_thread(_read, place / f"reply-{number:05d}.txt")) is None:  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
        return text

    return FunctionClient(by_hand)


def answers_client(path: str | os.PathLike[str]) -> FunctionClient:
    """A client that answers the requests of one study by what was answered before: the k-th by the k-th.

    The file at `path` is a JSON document whose "replies" are texts, in order. Whatever a request says, its reply is the
    same: prompts may have changed since. A request after the last is an `EOFError`.
    """
    replies = iter(json.loads(Path(path).read_text(encoding="utf-8"))["replies"])

    def answered(request: Request) -> str:
        text = next(replies, None)
        if text is None:
            raise EOFError(f"{Path(path).name} holds no more replies: the study asks more than it did")
        return str(text)

    return FunctionClient(answered)


def take(place: Path, seconds: float = TURN_SECONDS) -> str:
    """Wait for a request that nobody has taken, take it, and return what to print."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for path in _open_requests(place):
            try:
                (place / f"taken-{_number(path):05d}").touch(exist_ok=False)
            except FileExistsError:
                continue  # somebody else was faster
            return f"--- request {_number(path)}\n{path.read_text(encoding='utf-8')}"
        if (place / "over").exists():
            return "OVER: nothing more will be asked"
        time.sleep(POLL_SECONDS)
    return "nothing to answer yet: call `next` again"


def answer(place: Path, number: int, text: str) -> str:
    """Hand in a reply. Says so if the request has one already, and if there is no such request."""
    reply = place / f"reply-{number:05d}.txt"
    if not (place / f"request-{number:05d}.txt").exists():
        return f"there is no request {number}"
    if reply.exists():
        return f"request {number} has its reply already"
    _write(reply, text)
    return f"handed in: {number}"


def _open_requests(place: Path) -> Iterator[Path]:
    for path in sorted(place.glob("request-*.txt")):
        if not (place / f"reply-{_number(path):05d}.txt").exists():
            yield path


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _shown(request: Request) -> str:
    messages = "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in request.messages)
    schema = json.dumps(request.schema["properties"], ensure_ascii=False)
    return f"{messages}\n\n[answer with one JSON object that has these keys]\n{schema}\n"


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _write(path: Path, text: str) -> None:
    """A file that is there is whole."""
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.rename(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer, or end a run."""
    parser = argparse.ArgumentParser("python -m benchmarks.quality.by_hand", description="Answer a study's prompts.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("next", "answer", "stop"):
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path)
        if name == "answer":
            command.add_argument("number", type=int)
            command.add_argument("text", metavar="JSON")
    options = parser.parse_args(arguments)
    match options.command:
        case "next":
            print(take(options.folder))
        case "answer":
            print(answer(options.folder, options.number, options.text))
            print(take(options.folder))
        case "stop":
            (options.folder / "over").touch()


if __name__ == "__main__":
    main()
