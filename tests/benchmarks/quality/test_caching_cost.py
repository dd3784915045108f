"""What a provider's rules make of prompts in parts."""

from collections.abc import Sequence

import pytest

from benchmarks.quality.caching_cost import LAYOUTS, LOOK_BACK, Layout, Rules, Took, main, took
from optuna_llm import Request

ANTHROPIC = Rules(model="a", way="parts", dollars=1.0, least=10)
OPENAI = Rules(model="o", way="marks", dollars=1.0, least=10)
AUTOMATIC = Rules(model="m", way="automatic", dollars=1.0, least=256, write=1.0)
HEAD = "word " * 9 + "word"
ROW = "12,34\n"  # three tokens, and the line's break


def asks(rows: Sequence[int], block: int = 2) -> list[Request]:
    """Prompts of a head, so many rows of history each, and a tail that is different each time."""
    return [
        Request(
            messages=[
                {"role": "system", "content": HEAD},
                {"role": "user", "content": ROW * n + f"\ntail {number}"},
            ],
            schema={},
            prefix_ends=[len(ROW) * end for end in range(block, n + 1, block)],
        )
        for number, n in enumerate(rows)
    ]


def test_a_run_without_marks_is_not_cached_by_anthropic() -> None:
    found = took(asks([2, 4]), "no marks", ANTHROPIC)
    assert (found.read, found.written) == (0, 0)
    assert found.usd(ANTHROPIC) == pytest.approx(found.prompt / 1e6)


def test_the_head_is_written_once_and_read_then() -> None:
    found = took(asks([2, 4, 6]), "head", ANTHROPIC)
    assert (found.read, found.written) == (2 * 10, 10)


def test_a_history_in_one_part_is_written_whole_each_time_and_one_in_blocks_once() -> None:
    whole, blocks = (took(asks([2, 4, 6]), layout, ANTHROPIC) for layout in LAYOUTS[2:])
    assert whole.read == 2 * 10
    assert whole.written == 10 + 4 * (2 + 4 + 6)
    assert blocks.written == 10 + 4 * 6
    assert blocks.read == (10 + 4 * 2) + (10 + 4 * 4)


@pytest.mark.parametrize(("more", "found"), [(LOOK_BACK - 3, True), (LOOK_BACK + 3, False)])
def test_anthropic_looks_back_a_number_of_parts(more: int, found: bool) -> None:
    both = took(asks([8, 8 + 2 * more]), "head + blocks", ANTHROPIC)
    assert both.read == (10 + 4 * 8 if found else 10)


def test_openai_finds_a_prefix_at_marks_of_both_alone() -> None:
    near, far = took(asks([4, 6]), "head + blocks", OPENAI), took(asks([4, 20]), "head + blocks", OPENAI)
    assert near.read == 10 + 4 * 4
    assert far.read == 10


def test_openai_marks_the_end_where_nobody_else_does_and_bills_it() -> None:
    found = took(asks([2, 4]), "no marks", OPENAI)
    assert (found.read, found.written) == (0, found.prompt)
    assert found.usd(OPENAI) == pytest.approx(1.25 * found.prompt / 1e6)


def test_what_is_shorter_than_the_least_is_not_kept() -> None:
    found = took(asks([2, 4]), "head + blocks", Rules(model="a", way="parts", dollars=1.0, least=4096))
    assert found == Took(prompt=found.prompt)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_automatic_cache_reads_whole_steps_whatever_the_layout(layout: Layout) -> None:
    found = took(asks([100, 101]), layout, AUTOMATIC)
    assert found.read == 384  # of 10 + 4 * 100
    assert found.written == 0


def test_blocks_are_the_cheapest_in_a_run_wherever_anything_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    table = main(["--trials", "60"])
    shown = capsys.readouterr().out
    for model in ("claude-opus-5", "claude-sonnet-5"):
        assert model in shown
        reads = [one.read for one in table[model]]
        assert reads[-1] == max(reads) > 0
        assert table[model][-1].written < table[model][2].written
