"""What the model is told: the search space, and the task as somebody who knows it would write it."""

from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

N_TRIALS: Final = 20
N_WORKERS: Final = 4

SPACE: Final[dict[str, BaseDistribution]] = {
    "optimizer": CategoricalDistribution(["adam", "momentum"]),
    "learning_rate": FloatDistribution(1e-4, 1.0, log=True),
    "final_share": FloatDistribution(0.01, 1.0, log=True),
    "batch_size": IntDistribution(16, 1024, log=True),
    "context": IntDistribution(1, 24),
    "embedding": IntDistribution(4, 64, log=True),
    "width": IntDistribution(16, 1024, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
}

MEANINGS: Final = {
    "optimizer": (
        "Adam (0.9, 0.999), or SGD with Nesterov momentum 0.9 and the gradient of each weight matrix clipped to norm 1"
    ),
    "learning_rate": "peak learning rate of whichever optimizer is chosen; warm-up over the first 5 % of the steps",
    "final_share": "learning rate at the end as a share of the peak; a cosine leads there, 1 is constant",
    "batch_size": "examples a step; the number of steps follows from the budget",
    "context": "characters before the predicted one that the model sees",
    "embedding": "size of the embedding of one character",
    "width": "units of the hidden layer",
    "dropout": "share of hidden units dropped in training",
}

# What the text below names as an example, completed with what is usual: what TPE is given where it is given anything.
EXAMPLE: Final[dict[str, Any]] = {
    "optimizer": "adam",
    "learning_rate": 0.01,
    "final_share": 0.1,
    "batch_size": 64,
    "context": 8,
    "embedding": 16,
    "width": 128,
    "dropout": 0.0,
}

TASK: Final = (
    "Tune the training of a small neural language model of characters, written in NumPy. An embedding of each of the "
    "last `context` characters, concatenated, feeds one hidden layer with ReLU, and a softmax over an alphabet of 103. "
    "The text is the reference manual of a programming language: 443,000 characters for training, 22,000 held out. "
    "The metric is the cross-entropy on the held-out text in bits per character. "
    "Every training gets the same budget of 1.2e10 multiply-adds. A step costs "
    "4e6 + 3 * batch_size * (context * embedding * width + width * 103) of them, and steps are taken until the budget "
    "is spent: a larger model or batch takes fewer steps. With batch_size 64, context 8, embedding 16 and width 128 "
    "there are 1,240 steps, which is less than a fifth of one pass over the text. "
    "The same settings always give the same value."
)


def suggested(trial: optuna.Trial) -> dict[str, Any]:
    """All parameters, as an objective asks for them."""
    return {
        "optimizer": trial.suggest_categorical("optimizer", ["adam", "momentum"]),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1.0, log=True),
        "final_share": trial.suggest_float("final_share", 0.01, 1.0, log=True),
        "batch_size": trial.suggest_int("batch_size", 16, 1024, log=True),
        "context": trial.suggest_int("context", 1, 24),
        "embedding": trial.suggest_int("embedding", 4, 64, log=True),
        "width": trial.suggest_int("width", 16, 1024, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
    }
