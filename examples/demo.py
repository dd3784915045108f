"""A neural network learns to read digits: the embedded model tunes it with 4 workers, beside TPE and random search.

What the model adds is seen beside a fourth curve: the same menus, and a die in its place.
No key and no network: `make demo`, or `python examples/demo.py [MODEL]` with any model that LiteLLM knows.
"""

import argparse
import functools
import random
import statistics
import textwrap
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial

from optuna_llm import Client, ContextPolicy, FunctionClient, LLMGuidedSampler, Request, RunReport, optimize
from optuna_llm.report import write_report
from showcase.chart import Curve, best_so_far, chart, median_of, share_beaten

N_TRIALS = 20
N_WORKERS = 4
N_SEEDS = 10  # studies of TPE, of random search, and of draws from the menus
COLUMNS = 80

SPACE = {
    "lr": FloatDistribution(1e-5, 10, log=True),
    "momentum": FloatDistribution(0, 0.99),
    "init": FloatDistribution(1e-3, 10, log=True),
    "width": IntDistribution(4, 128, log=True),
    "batch": IntDistribution(8, 256, log=True),
}
TASK = (
    "Tune the training of a small neural network that reads handwritten digits of 8 by 8 pixels: one hidden layer, "
    "SGD with momentum, 3,000 images in all, whatever the batch. The metric is the log loss on 797 other images."
)
MEANINGS = {
    "lr": "learning rate",
    "momentum": "momentum of SGD",
    "init": "standard deviation of the first weights",
    "width": "hidden units",
    "batch": "images a step: a larger batch takes fewer steps",
}
IMAGES_SEEN = 3_000
WORST = 3.0  # a loss that is worse than this, or not a number, counts as this
FREE, MENU = "freely", "from a menu"
MENUS, TPE, RANDOM = "a draw from the same menus", "TPE", "random search"
NO_IDEAS = (
    "The embedded model has no ideas of its own: it picks from menus that a Gaussian\nprocess computes. Runs differ."
)


class Digits:
    """1,000 images for training and 797 for validation."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits  # takes seconds: what the demo does is said before

        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(labels))
        images, labels = (images[order] / 16).astype(np.float32), labels[order]
        self.training = images[:1000], labels[:1000]
        self.validation = images[1000:], labels[1000:]


@functools.cache
def digits() -> Digits:
    """The images, loaded once."""
    return Digits()


def loss(trial: optuna.Trial) -> float:
    """Train one network; the same parameters always give the same loss."""
    lr = np.float32(trial.suggest_float("lr", 1e-5, 10, log=True))
    momentum = np.float32(trial.suggest_float("momentum", 0, 0.99))
    init = np.float32(trial.suggest_float("init", 1e-3, 10, log=True))
    width = trial.suggest_int("width", 4, 128, log=True)
    batch = trial.suggest_int("batch", 8, 256, log=True)
    rng = np.random.default_rng(0)
    hidden, output = (init * rng.standard_normal(shape, np.float32) for shape in ((64, width), (width, 10)))
    weights = [hidden, np.zeros(width, np.float32), output, np.zeros(10, np.float32)]
    speeds = [np.zeros_like(weight) for weight in weights]
    images, labels = digits().training
    with np.errstate(all="ignore"):  # a learning rate that is too high ends in numbers that are none
        for _ in range(IMAGES_SEEN // batch):
            chosen = rng.integers(len(labels), size=batch)
            gradients = slopes(weights, images[chosen], labels[chosen])
            for weight, speed, gradient in zip(weights, speeds, gradients, strict=True):
                speed *= momentum
                speed += gradient
                weight -= lr * speed
        shares = predicted(weights, digits().validation[0])
    trial.set_user_attr("accuracy", float((shares.argmax(axis=1) == digits().validation[1]).mean()))
    value = -float(np.log(shares[np.arange(len(shares)), digits().validation[1]] + 1e-7).mean())
    return min(value, WORST) if np.isfinite(value) else WORST


def predicted(weights: Sequence[Any], images: Any) -> Any:
    """The share of each digit, for each image."""
    hidden, hidden_bias, output, output_bias = weights
    scores = np.maximum(images @ hidden + hidden_bias, 0) @ output + output_bias
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def slopes(weights: Sequence[Any], images: Any, labels: Any) -> list[Any]:
    """The gradient of the mean log loss, for each of the weights."""
    hidden, hidden_bias, output, _ = weights
    active = np.maximum(images @ hidden + hidden_bias, 0)
    error = predicted(weights, images)
    error[np.arange(len(labels)), labels] -= 1
    error /= len(labels)
    inner = (error @ output.T) * (active > 0)
    return [images.T @ inner, inner.sum(axis=0), active.T @ error, error.sum(axis=0)]


def run(
    sampler: optuna.samplers.BaseSampler, show: Callable[[optuna.Study, FrozenTrial], None] | None = None
) -> tuple[optuna.Study, RunReport]:
    """One study. Every sampler runs on the same engine, with as many workers."""
    study = optuna.create_study(sampler=sampler, study_name="A network that reads digits")
    callbacks = [] if show is None else [show]
    report = optimize(study, loss, n_trials=N_TRIALS, n_workers=N_WORKERS, search_space=SPACE, callbacks=callbacks)
    return study, report


def from_menus(model: str | Client, seed: int) -> LLMGuidedSampler:
    """The strategy for a model that is too small to have reasons, and to do without menus.

    It reads slowly, so it is shown no trials: its menus follow from all of them.
    """
    context = ContextPolicy(rationale=False, history=0)
    return LLMGuidedSampler(model, task=TASK, parameters=MEANINGS, context=context, strategy="menu", seed=seed)


def from_menus_by_chance(seed: int) -> LLMGuidedSampler:
    """The same menus, with a die in the place of the model."""
    dice = random.Random(seed)
    free = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))  # for an ask without a menu: the first

    def answer(request: Request) -> dict[str, Any]:
        menu = request.schema["properties"].get("candidate")
        return {"candidate": dice.choice(menu["enum"])} if menu else free.ask(SPACE).params

    return from_menus(FunctionClient(answer), seed)


def ended(study: optuna.Study) -> list[float]:
    """The values in the order in which the trials ended."""
    order = sorted(study.trials, key=lambda trial: trial.datetime_complete.timestamp())
    return [trial.value for trial in order]


def rivals(sampler: Callable[..., optuna.samplers.BaseSampler]) -> list[list[float]]:
    """The values of a study for each seed."""
    return [ended(run(sampler(seed=seed))[0]) for seed in range(N_SEEDS)]


def show_trial(study: optuna.Study, trial: FrozenTrial) -> None:
    """One line, and the rationale of a model that has one."""
    record = trial.user_attrs["llm"]
    mark = "*" if trial.number == study.best_trial.number else " "
    row = [f"{value:.3g}" for value in trial.params.values()]
    how = MENU if record.get("form") == "menu" else FREE
    print(f"{trial.number:>5}  {trial.value:5.3f} {mark} {''.join(f'{cell:>9}' for cell in row)}   {how}", flush=True)
    if record["rationale"]:
        print(textwrap.indent(textwrap.fill(record["rationale"], COLUMNS - 15), " " * 15), flush=True)


def comparison(mine: Sequence[float], others: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """The curves of the model and, by their names, of the others, and how often the model is better."""
    curves = [Curve(mark="M", name="the model, one study", values=best_so_far(mine))]
    rows = [f"{f'After {len(mine)} trials':<43}loss   the model is better than", f"  {'the model':<41}{min(mine):.3f}"]
    for name, studies in others.items():
        label, last = f"{name}, median of {len(studies)}", [*map(min, studies)]
        median = median_of([*map(best_so_far, studies)])
        curves.append(Curve(mark=name[0].lower(), name=label, values=median))
        rows.append(f"  {label:<41}{statistics.median(last):.3f}  {share_beaten(min(mine), last)} studies")
    return "\n".join([chart(curves, "best loss so far"), "", *rows])


def random_study(studies: Sequence[Sequence[float]]) -> optuna.Study:
    """All random trials in one study, for the report."""
    study = optuna.create_study()
    study.add_trials([create_trial(value=value) for values in studies for value in values])
    return study


def main() -> None:
    parser = argparse.ArgumentParser("demo.py", description="An LLM tunes a small neural network.")
    parser.add_argument("model", nargs="?", default="local", help="a model string; default: the embedded model")
    parser.add_argument("--report", type=Path, default=Path("demo-report.html"))
    parser.add_argument("--open", action="store_true", help="open the report in a browser")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print("A small neural network learns to read handwritten digits.")
    print(f"Five of its settings are tuned: {N_TRIALS} trials, {N_WORKERS} at a time. Less loss is better.")
    print("Loading the images.\n", flush=True)
    digits()
    embedded = options.model == "local"
    print(f"First without a model, {N_SEEDS} studies each: random search, TPE, and draws from menus.", flush=True)
    others = {
        MENUS: rivals(from_menus_by_chance),
        TPE: rivals(optuna.samplers.TPESampler),
        RANDOM: rivals(optuna.samplers.RandomSampler),
    }
    print(f"Now {options.model!r} proposes every trial.\n{f'{NO_IDEAS}{chr(10)}' if embedded else ''}")
    print(f"Loading {'the model' if embedded else 'LiteLLM'} takes some seconds.\n")
    print(f"trial  loss    {''.join(f'{name:>9}' for name in SPACE)}   proposed", flush=True)
    sampler = (
        from_menus(options.model, 0)
        if embedded
        else LLMGuidedSampler(options.model, task=TASK, parameters=MEANINGS, seed=0)
    )
    study, report = run(sampler, show_trial)
    best = study.best_trial
    print(f"\n{comparison(ended(study), others)}")
    print(f"\nBest: trial {best.number}, which reads {best.user_attrs['accuracy']:.1%} of the images right.")
    page = write_report(study, options.report.absolute(), baseline=random_study(others[RANDOM]))
    print(f"It took {report.llm_calls} model calls, {report.tokens:,} tokens and {report.seconds:.0f} s.")
    print(f"\nReport: {page}")
    if embedded:
        print(
            "\nThe embedded model has 135 million parameters and knows nothing of networks.\n"
            f"What its choices add is the difference from {MENUS!r}.\n"
            "What a strong model does is another matter: make showcase"
        )
    if options.open:
        webbrowser.open(page.as_uri())


if __name__ == "__main__":
    main()
