"""What the throughput benchmark runs."""

import math
import random

from benchmarks.throughput.workload import SPACE, answer, latencies, random_params
from optuna_llm.samplers.space.menu_reply import menu_schema
from optuna_llm.samplers.space.reply_model import json_schema
from optuna_llm.samplers.space.space import make_space


def test_lognormal_latencies_keep_their_mean_and_follow_from_the_seed() -> None:
    drawn = latencies("lognormal", 2.0, 20_000, seed=1)
    assert math.isclose(sum(drawn) / len(drawn), 2.0, rel_tol=0.02)
    assert drawn == latencies("lognormal", 2.0, 20_000, seed=1) != latencies("lognormal", 2.0, 20_000, seed=2)


def test_a_past_configuration_has_a_valid_value_for_every_parameter() -> None:
    rng = random.Random(3)
    for _ in range(50):
        params = random_params(rng)
        assert params.keys() == SPACE.keys()
        assert all(SPACE[name]._contains(SPACE[name].to_internal_repr(value)) for name, value in params.items())


def test_the_model_takes_the_first_candidate_of_a_menu_and_else_draws_every_parameter() -> None:
    space, rng = make_space(SPACE), random.Random(4)
    assert all(answer(menu_schema(space, 5), rng)["candidate"] == 1 for _ in range(20))
    free = answer(json_schema(space), rng)
    assert free.keys() == {"rationale", *space.keys.values()}
    assert free["rationale"]
