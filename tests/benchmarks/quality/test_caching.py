"""How old the prompt is that an ask goes on from."""

import pytest

from benchmarks.quality import caching


@pytest.mark.parametrize(("uncached", "ago"), [(100, 1), (136, 1), (150, 2), (190, 3), (500, None)])
def test_the_prompt_that_an_ask_goes_on_from_is_told_by_what_the_server_read(uncached: int, ago: int | None) -> None:
    rows = tuple([20] * 9)
    earlier = [caching.Asked(prompt=400, uncached=400, tail=100, title=25, rows=rows[:n]) for n in (5, 6, 8)]
    last = caching.Asked(prompt=500, uncached=uncached, tail=100, title=25, rows=rows)
    assert caching.age([*earlier, last], 3) == ago


def test_the_first_table_costs_its_title_as_well() -> None:
    first = caching.Asked(prompt=300, uncached=300, tail=100, title=25, rows=())
    then = caching.Asked(prompt=350, uncached=145, tail=100, title=25, rows=(20,))
    assert caching.age([first, then], 1) == 1
