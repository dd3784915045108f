"""A share of a study's trials that another sampler proposes."""

import anyio
import pytest

from benchmarks.quality.mixing import MIXES, line, main, study_of


@pytest.mark.parametrize("mix", MIXES)
def test_each_takes_its_turns(mix: str) -> None:
    classical, _ = MIXES[mix]
    values, alone = (
        anyio.run(lambda: study_of("knows", name, "plain", seed=0, trials=10))  # noqa: B023
        for name in (mix, "none")
    )
    assert len(values) == 10
    assert (values == alone) is not any(map(classical, range(10)))


def test_a_row_has_the_mean_best_value_of_a_quarter_a_half_and_all_trials() -> None:
    assert line("knows", "none", [[4.0, 2.0, 3.0, 1.0], [8.0, 8.0, 6.0, 6.0]], 4) == (
        "| knows | none | 6.0000 | 5.0000 | 3.5000 |"
    )


def test_the_table_has_a_row_for_each_mix(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--models", "draws", "--seeds", "1", "--trials", "4"])
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(MIXES)
