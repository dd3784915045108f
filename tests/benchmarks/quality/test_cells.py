"""One task, method and seed."""

from benchmark_support import task

from benchmarks.quality.cells import Cell, continued, first_configuration


def test_the_first_configuration_follows_from_task_and_seed() -> None:
    made = task()
    assert first_configuration(made, 1) == first_configuration(made, 1) != first_configuration(made, 2)


def test_only_a_study_that_goes_on_gets_another_seed() -> None:
    assert continued(7, 0) == 7
    assert len({continued(seed, drawn) for seed in range(20) for drawn in range(20)}) == 400


def test_a_cell_has_a_folder_of_its_own() -> None:
    cells = {
        Cell(task=t, method=m, seed=s, first=f)
        for t in ("a/b", "a/c")
        for m in "xy"
        for s in (0, 1)
        for f in (True, False)
    }
    assert len({made.folder for made in cells}) == 16
