"""What is tuned: a small neural language model of characters, trained with NumPy on a fixed budget of arithmetic.

The model reads the last `context` characters and predicts the next: an embedding of each character, one hidden layer,
a distribution over all characters. The text is the reference of the Python language that comes with Python.
Every configuration may spend the same number of multiply-adds, so a model that is twice as large takes half the steps.
"""

import functools
import hashlib
import pydoc_data.topics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

BUDGET: Final = 12e9  # multiply-adds of one training
OVERHEAD: Final = 4e6  # multiply-adds that a step costs before it computes anything: many small steps are not free
PASSES: Final = 3  # a step computes as much as three forward passes: one forward, and two backward
BLOCK: Final = 2_000  # characters of text that are kept together
HELD_OUT: Final = 20  # one block of so many is for validation
WARMUP: Final = 0.05  # share of the steps in which the learning rate rises
LARGEST_NORM: Final = 1.0  # of the gradient of one parameter; a larger one is scaled down to it
EVALUATED: Final = 4_096  # characters of validation text at a time
DIVERGED: Final = 10.0  # bits per character: more than a guess among all characters takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text as indices into its alphabet, in blocks for training and for validation; `digest` tells texts apart."""

    training: Sequence[Indices]
    validation: Sequence[Indices]
    n_characters: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One configuration; see `task.py` for what each name means."""

    optimizer: str
    learning_rate: float
    final_share: float
    batch_size: int
    context: int
    embedding: int
    width: int
    dropout: float

    def n_steps(self, n_characters: int) -> int:
        """Steps that the budget pays for."""
        weights = self.context * self.embedding * self.width + self.width * n_characters
        return max(1, int(BUDGET / (OVERHEAD + PASSES * self.batch_size * weights)))


@functools.cache
def python_reference() -> Text:
    """The text that the model learns; it differs a little between versions of Python."""
    topics = pydoc_data.topics.topics
    text = "\n\n".join(topics[name] for name in sorted(topics))
    _, codes = np.unique(np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32), return_inverse=True)
    blocks = [codes[start : start + BLOCK].astype(np.int64) for start in range(0, len(codes), BLOCK)]
    return Text(
        training=[block for number, block in enumerate(blocks, 1) if number % HELD_OUT],
        validation=blocks[HELD_OUT - 1 :: HELD_OUT],
        n_characters=int(codes.max()) + 1,
        digest=hashlib.sha256(text.encode()).hexdigest()[:12],
    )


def bits_per_character(parameters: Mapping[str, Any], text: Text) -> float:
    """Train one model, and return its cross-entropy on the validation text; the same for the same parameters."""
    settings = Settings(**parameters)
    rng = np.random.default_rng(0)
    network = Network(settings, text.n_characters, rng)
    contexts, targets = _windows(text.training, settings.context)
    n_steps = settings.n_steps(text.n_characters)
    update = OPTIMIZERS[settings.optimizer](network.weights)
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(n_steps):
            chosen = rng.integers(len(targets), size=settings.batch_size)
            gradients = network.gradients(contexts[chosen], targets[chosen], rng)
            update(gradients, settings.learning_rate * _schedule(step / n_steps, settings.final_share))
        loss = network.loss(*_windows(text.validation, settings.context))
    return min(loss, DIVERGED) if np.isfinite(loss) else DIVERGED


class Network:
    """Embedding, hidden layer with ReLU and dropout, softmax."""

    def __init__(self, settings: Settings, n_characters: int, rng: np.random.Generator) -> None:
        inputs = settings.context * settings.embedding
        self.dropout = settings.dropout
        self.embedding = _normal(rng, 1.0, n_characters, settings.embedding)
        self.hidden = _normal(rng, (2 / inputs) ** 0.5, inputs, settings.width)
        self.hidden_bias = np.zeros(settings.width, np.float32)
        self.output = _normal(rng, settings.width**-0.5, settings.width, n_characters)
        self.output_bias = np.zeros(n_characters, np.float32)

    @property
    def weights(self) -> list[Floats]:
        return [self.embedding, self.hidden, self.hidden_bias, self.output, self.output_bias]

    def gradients(self, contexts: Indices, targets: Indices, rng: np.random.Generator) -> list[Floats]:
        """Those of the mean cross-entropy of a batch, in the order of `weights`."""
        inputs = self.embedding[contexts].reshape(len(contexts), -1)
        hidden = np.maximum(inputs @ self.hidden + self.hidden_bias, 0)
        if self.dropout:
            hidden *= (rng.random(hidden.shape, np.float32) >= self.dropout) / np.float32(1 - self.dropout)
        error = _softmax(hidden @ self.output + self.output_bias)
        error[np.arange(len(targets)), targets] -= 1
        error /= len(targets)
        scale = np.float32(1 / (1 - self.dropout))
        inner = (error @ self.output.T) * ((hidden > 0) * scale)
        outer = (inner @ self.hidden.T).reshape(*contexts.shape, -1)
        return [
            _summed_by_index(contexts, outer, len(self.embedding)),
            inputs.T @ inner,
            inner.sum(axis=0),
            hidden.T @ error,
            error.sum(axis=0),
        ]

    def loss(self, contexts: Indices, targets: Indices) -> float:
        """Bits per character, without dropout."""
        total = 0.0
        for start in range(0, len(targets), EVALUATED):
            part = slice(start, start + EVALUATED)
            inputs = self.embedding[contexts[part]].reshape(len(targets[part]), -1)
            hidden = np.maximum(inputs @ self.hidden + self.hidden_bias, 0)
            shares = _softmax(hidden @ self.output + self.output_bias)
            total -= float(np.log2(shares[np.arange(len(shares)), targets[part]] + 1e-12).sum())
        return total / len(targets)


class Adam:
    def __init__(self, weights: Sequence[Floats]) -> None:
        self.weights = weights
        self.means = [np.zeros_like(weight) for weight in weights]
        self.squares = [np.zeros_like(weight) for weight in weights]
        self.steps = 0

    def __call__(self, gradients: Sequence[Floats], rate: float) -> None:
        self.steps += 1
        rate *= (1 - 0.999**self.steps) ** 0.5 / (1 - 0.9**self.steps)
        for weight, gradient, mean, square in zip(self.weights, gradients, self.means, self.squares, strict=True):
            mean += np.float32(0.1) * (gradient - mean)
            square += np.float32(0.001) * (gradient * gradient - square)
            weight -= np.float32(rate) * mean / (np.sqrt(square) + np.float32(1e-8))


class Momentum:
    """Stochastic gradient descent with Nesterov's momentum of 0.9."""

    def __init__(self, weights: Sequence[Floats]) -> None:
        self.weights = weights
        self.speeds = [np.zeros_like(weight) for weight in weights]

    def __call__(self, gradients: Sequence[Floats], rate: float) -> None:
        for weight, gradient, speed in zip(self.weights, gradients, self.speeds, strict=True):
            norm = float(np.sqrt(np.square(gradient).sum()))
            gradient *= np.float32(min(1.0, LARGEST_NORM / (norm + 1e-12)))
            speed *= np.float32(0.9)
            speed += gradient
            weight -= np.float32(rate) * (gradient + np.float32(0.9) * speed)


Update = Callable[[Sequence[Floats], float], None]  # gradients, and the learning rate

OPTIMIZERS: Final[Mapping[str, Callable[[Sequence[Floats]], Update]]] = {"adam": Adam, "momentum": Momentum}


def _schedule(progress: float, final_share: float) -> float:
    """The learning rate as a share of its peak: it rises, then falls along a cosine to `final_share`."""
    if progress < WARMUP:
        return (progress + 1e-3) / (WARMUP + 1e-3)
    cosine = 0.5 + 0.5 * float(np.cos(np.pi * (progress - WARMUP) / (1 - WARMUP)))
    return final_share + (1 - final_share) * cosine


def _windows(blocks: Sequence[Indices], context: int) -> tuple[Indices, Indices]:
    """Every character of the blocks that has `context` characters before it, and those."""
    windows = np.concatenate(
        [np.lib.stride_tricks.sliding_window_view(b, context + 1) for b in blocks if len(b) > context]
    )
    return windows[:, :-1], windows[:, -1]


def _summed_by_index(indices: Indices, rows: Floats, n: int) -> Floats:
    flat = indices.ravel()
    order = np.argsort(flat, kind="stable")
    present, starts = np.unique(flat[order], return_index=True)
    sums = np.zeros((n, rows.shape[-1]), np.float32)
    sums[present] = np.add.reduceat(rows.reshape(len(flat), -1)[order], starts, axis=0)
    return sums


def _softmax(scores: Floats) -> Floats:
    shares: Floats = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def _normal(rng: np.random.Generator, deviation: float, *shape: int) -> Floats:
    return rng.standard_normal(shape, np.float32) * np.float32(deviation)
