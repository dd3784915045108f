"""Where a prompt says that its history's whole blocks end, and that later prompts begin in the same way."""

from itertools import pairwise

import optuna
from support import SPACE, SchemaModel, sampler

from optuna_llm import ContextPolicy, Request
from optuna_llm.samplers.prompt.messages import CACHED_ROWS
from optuna_llm.samplers.wire.cache_marks import MOST_MARKS, marked


def asked(trials: int, context: ContextPolicy | None = None) -> list[Request]:
    """The first request of each ask of a study; re-asks are left out."""
    model = SchemaModel()
    study = optuna.create_study(sampler=sampler(model, search_space=SPACE, context=context, seed=0))
    for _ in range(trials):
        trial = study.ask(SPACE)
        study.tell(trial, trial.params["lr"] + trial.number)
    return [request for request in model.requests if len(request.messages) == 2]


def test_each_end_is_after_a_whole_row_and_each_block_has_as_many() -> None:
    request = asked(18)[-1]
    content = request.messages[1]["content"]
    assert len(request.prefix_ends) == 3
    assert all(content[end - 1] == "\n" for end in request.prefix_ends)
    blocks = [content[start:end] for start, end in pairwise(request.prefix_ends)]
    assert [block.count("\n") for block in blocks] == [CACHED_ROWS] * 2
    first = content[: request.prefix_ends[0]].splitlines()
    assert [line.split(",")[0] for line in first[2:]] == [str(number) for number in range(CACHED_ROWS)]


def test_the_next_prompt_begins_with_the_same_blocks() -> None:
    for before, after in pairwise(asked(23)):
        if before.prefix_ends:
            end = before.prefix_ends[-1]
            assert before.messages[0] == after.messages[0]
            assert before.messages[1]["content"][:end] == after.messages[1]["content"][:end]
            assert after.prefix_ends[: len(before.prefix_ends)] == before.prefix_ends


def test_a_prompt_without_a_whole_block_has_no_end_and_an_end_at_the_last_row_is_one() -> None:
    requests = asked(CACHED_ROWS + 1)
    assert [len(request.prefix_ends) for request in requests] == [0] * CACHED_ROWS + [1]
    assert requests[-1].messages[1]["content"][requests[-1].prefix_ends[0] :].startswith("\n# Best")


def test_eviction_moves_the_ends_with_the_rows() -> None:
    request = asked(30, ContextPolicy(history=12))[-1]
    content = request.messages[1]["content"]
    assert "left out" in content.splitlines()[0]
    assert request.prefix_ends
    assert all(content[:end].count("\n") == 2 + CACHED_ROWS * n for n, end in enumerate(request.prefix_ends, start=1))


def test_what_is_marked_last_in_one_prompt_is_marked_in_the_next_as_well() -> None:
    """OpenAI finds a prefix only at a mark that both prompts have."""
    marks = [
        [
            "".join(part["text"] for part in parts[: place + 1])
            for place, part in enumerate(parts)
            if "cache_control" in part
        ]
        for request in asked(33)
        if isinstance(parts := marked(request.messages, request.prefix_ends)[1]["content"], list)
    ]
    assert len(marks) > 20
    assert all(before[-1] in after for before, after in pairwise(marks))
    assert max(map(len, marks)) == MOST_MARKS - 1
