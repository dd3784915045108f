"""A model that answers through a folder: every request goes to one of those who answer, and its reply comes back."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.quality import by_hand
from benchmarks.quality.__main__ import main as benchmark
from benchmarks.quality.by_hand import answer, answers_client, hand_client, main, take
from optuna_llm import Request

REQUEST = Request(
    messages=[{"role": "system", "content": "Propose."}, {"role": "user", "content": "Trials: none"}],
    schema={"type": "object", "properties": {"x": {"type": "number"}}},
)

ANSWERS = Path(by_hand.__file__).parent / "answers"
REPORTED = {  # regret after 5, 10, 20 trials: of those studies that need no library, whose versions differ
    ("invented/kiln", 2): [0.194, 0.194, 0.047],
    ("invented/numbers", 2): [0.307, 0.031, 0.0],
    ("invented/branches", 2): [0.478, 0.434, 0.012],
    ("systems/tank", 0): [0.004, 0.0, 0.0],
    ("invented/numbers", 0): [0.142, 0.079, 0.021],  # a menu declined, five taken
    ("invented/branches", 0): [0.467, 0.134, 0.0],  # two declined
    ("invented/kiln", 1): [0.232, 0.036, 0.019],
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_hand, "POLL_SECONDS", 0.001)


async def answered(place: Path, *texts: str) -> list[str]:
    """Ask as often as there are texts, at once; answer in turn with them; return the replies."""
    client = hand_client(place)
    asks = [asyncio.create_task(client.complete(REQUEST)) for _ in texts]
    for text in texts:
        shown = await asyncio.to_thread(take, place)
        number = int(shown.split()[2])
        assert await asyncio.to_thread(answer, place, number, text) == f"handed in: {number}"
    return [reply.text for reply in await asyncio.gather(*asks)]


@pytest.mark.asyncio
async def test_who_answers_sees_the_prompt_and_the_keys_and_the_reply_comes_back(tmp_path: Path) -> None:
    client = hand_client(tmp_path)
    ask = asyncio.create_task(client.complete(REQUEST))
    shown = await asyncio.to_thread(take, tmp_path)
    for part in ("request 1", "[system]\nPropose.", "[user]\nTrials: none", '{"x": {"type": "number"}}'):
        assert part in shown
    answer(tmp_path, 1, '{"x": 3}')
    assert (await ask).text == '{"x": 3}'


@pytest.mark.asyncio
async def test_two_who_answer_are_never_given_the_same_request(tmp_path: Path) -> None:
    replies = await answered(tmp_path, '{"x": 1}', '{"x": 2}', '{"x": 3}')
    assert sorted(replies) == ['{"x": 1}', '{"x": 2}', '{"x": 3}']


def test_a_second_client_goes_on_with_the_numbers_of_a_folder(tmp_path: Path) -> None:
    asyncio.run(answered(tmp_path, '{"x": 1}'))
    asyncio.run(answered(tmp_path, '{"x": 2}'))
    assert sorted(path.name for path in tmp_path.glob("request-*")) == ["request-00001.txt", "request-00002.txt"]


def test_a_request_is_answered_once(tmp_path: Path) -> None:
    asyncio.run(answered(tmp_path, '{"x": 1}'))
    assert answer(tmp_path, 1, '{"x": 9}') == "request 1 has its reply already"
    assert answer(tmp_path, 2, "{}") == "there is no request 2"
    assert (tmp_path / "reply-00001.txt").read_text() == '{"x": 1}'


def test_who_waits_hears_that_the_run_is_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["stop", str(tmp_path)])
    main(["next", str(tmp_path)])
    assert capsys.readouterr().out == "OVER: nothing more will be asked\n"


def test_a_turn_ends_without_a_request(tmp_path: Path) -> None:
    assert take(tmp_path, 0.01) == "nothing to answer yet: call `next` again"


@pytest.mark.parametrize(("task", "seed"), sorted(REPORTED))
def test_a_study_runs_again_from_what_was_answered_and_gives_what_is_reported(
    task: str, seed: int, tmp_path: Path
) -> None:
    arguments = f"--tasks {task} --methods adaptive --seeds 1 --first-seed {seed} --trials 20 --no-plot".split()
    source = f"answers:{ANSWERS / f'{Path(task).name}-{seed}.json'}"
    outcome = benchmark([*arguments, "--client", source, "--out", str(tmp_path)])
    (cell,) = outcome.measured
    assert [cell.regret[str(count)] for count in (5, 10, 20)] == pytest.approx(REPORTED[task, seed], abs=5e-4)


@pytest.mark.asyncio
async def test_a_study_that_asks_more_than_was_answered_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "short.json"
    path.write_text('{"replies": ["{}"]}', encoding="utf-8")
    client = answers_client(path)
    assert (await client.complete(REQUEST)).text == "{}"
    with pytest.raises(EOFError, match=r"short\.json holds no more replies"):
        await client.complete(REQUEST)
