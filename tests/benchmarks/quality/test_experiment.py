"""Which cells there are, and which can run here."""

from benchmarks.quality.experiment import baseline, selected, shown, unable


def test_what_cannot_run_here_says_what_it_needs() -> None:
    cannot = unable(["random", "plain"], model=False)
    assert list(cannot) == ["plain"]
    assert "--client" in cannot["plain"]


def test_the_adaptive_method_is_compared_with_the_others_where_there_is_one() -> None:
    assert baseline(["random", "plain", "adaptive"]) == "adaptive"
    assert baseline(["random", "plain"]) == "plain"
    assert baseline(["random"]) == "random"
    assert baseline([]) is None


def test_no_folder_of_this_machine_is_on_record() -> None:
    assert shown("local:/home/me/model.gguf") == "local:model.gguf"
    assert (shown("openai/gpt-5-mini"), shown(None)) == ("openai/gpt-5-mini", None)


def test_suites_and_named_tasks_are_joined() -> None:
    assert selected(["nas"], ["hpobench/car"]) == ["hpobench/car", "nas/cifar10", "nas/cifar100", "nas/imagenet"]
