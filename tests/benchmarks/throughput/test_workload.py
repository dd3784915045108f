"""What the throughput benchmark runs."""

import math
import random

from benchmarks.throughput.workload import SPACE, latencies, random_params


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
