"""The simulated provider, and what the bound on requests in flight makes of it."""

import pytest

from benchmarks.throughput.window import CASES, RULES, simulate, table


@pytest.mark.parametrize("case", CASES)
def test_our_rule_uses_nearly_all_that_a_provider_takes(case: str) -> None:
    capacity, workers = CASES[case]
    courses = {name: simulate(rule(), capacity, workers, seed=0) for name, rule in RULES.items()}
    assert courses["ours"].used > 0.94
    assert courses["ours"].used > courses["halves"].used
    assert courses["ours"].refusals < courses["keeps 0.8"].refusals


def test_each_rule_is_reported_for_each_provider() -> None:
    lines = list(table(seeds=1))
    assert len(lines) == 2 + len(CASES) * len(RULES)
    assert all(line.count("|") == 6 for line in lines)
