"""Proposals that are computed ahead of the workers."""

import anyio
import pytest

from benchmarks.throughput.staleness import expected, main, run


def test_one_worker_that_waits_for_its_proposal_misses_nothing() -> None:
    one = anyio.run(lambda: run(1, 0, 0.0, 0.0, waves=6))
    assert (one.staleness, one.most, one.in_flight) == (0, 0, 0)


def test_a_proposal_that_is_computed_ahead_misses_what_ended_meanwhile() -> None:
    one = anyio.run(lambda: run(1, 2, 0.0, 0.005, waves=8))
    assert one.staleness > 0


@pytest.mark.parametrize(("prefetch", "utilization", "staleness"), [(0, 0.5, 3.0), (0, 1.0, 0.0), (8, 1.0, 7.0)])
def test_a_proposal_misses_what_is_launched_before_it(prefetch: int, utilization: float, staleness: float) -> None:
    assert expected(8, prefetch, utilization) == staleness


def test_the_table_has_a_row_for_each_number_of_proposals_ahead(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--workers", "2", "--llm", "0.001", "--objective", "0.001", "--waves", "4"])
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == ["0", "1", "2", "4"]
