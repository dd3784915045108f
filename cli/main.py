"""The commands, their options, and what their exit codes mean: 0 works, 1 does not, 2 wrong usage, 130 Ctrl-C."""

import importlib
import json
import shutil
import signal
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import click
import optuna
from optuna.study import StudyDirection

from .. import Budget, ClientError, Limits, LLMGuidedSampler, OptunaLLMError, UsageError, optimize
from ..report import annotate, write_report
from ..samplers.client.llm_loop import run_sync
from ..samplers.guidance.strategies import STRATEGIES
from ..samplers.wire.ladder import MODES, Mode
from .checking import checked, found_as_text
from .prompting import messages_for
from .showing import fitted, follow, study_as_json, study_as_text
from .sources import client_named, existing_storage, source_named, storage_named, study_named


class _Commands(click.Group):
    """Say our own errors in a line, without a traceback, and end after Ctrl-C as shells expect it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise SystemExit(EXIT_BY_CTRL_C) from None
        except UsageError as error:
            raise click.UsageError(str(error)) from error
        except OptunaLLMError as error:
            raise click.ClickException(str(error)) from error


EXIT_BY_CTRL_C: Final = 128 + signal.SIGINT  # the exit code of a program that Ctrl-C has ended


@click.group(cls=_Commands)
@click.version_option(package_name="optuna-llm")
def main() -> None:
    """Let an LLM propose the trials of an Optuna study."""


@main.command()
@click.argument("objective", metavar="MODULE:OBJECTIVE")
@click.option("--storage", required=True, help="A URL, or a path that ends in .journal or .log.")
@click.option("--study-name", required=True)
@click.option("--model", required=True, help="Such as openai/gpt-5.4-mini.")
@click.option("--api-base")
@click.option("--api-key-env", help="The environment variable that holds the key.")
@click.option("--direction", type=click.Choice(["minimize", "maximize"]), default="minimize", show_default=True)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--n-trials", type=click.IntRange(min=1), help="Trials of this command.")
@click.option("--total-trials", type=click.IntRange(min=1), help="Trials of the study, over all processes.")
@click.option("--timeout", type=float, help="Seconds.")
@click.option("--budget-usd", type=float, help="US dollars; for models whose price is known.")
@click.option("--budget-requests", type=click.IntRange(min=0))
@click.option("--budget-tokens", type=click.IntRange(min=0))
@click.option("--catch", is_flag=True, help="Go on after an exception of the objective: its trial fails, and says why.")
@click.option("--max-failure-rate", type=click.FloatRange(0, 1), help="Share of failed trials that ends the run.")
@click.option("--rpm", type=float, help="Requests per minute.")
@click.option("--json", "as_json", is_flag=True)
def run(
    objective: str,
    storage: str,
    study_name: str,
    model: str,
    api_base: str | None,
    api_key_env: str | None,
    direction: str,
    workers: int,
    n_trials: int | None,
    total_trials: int | None,
    timeout: float | None,
    budget_usd: float | None,
    budget_requests: int | None,
    budget_tokens: int | None,
    catch: bool,
    max_failure_rate: float | None,
    rpm: float | None,
    as_json: bool,
) -> None:
    """Run trials; several at once on one study share its limits and its total. Ctrl-C lets running trials finish."""
    budget = Budget(usd=budget_usd, requests=budget_requests, tokens=budget_tokens)
    if n_trials is None and total_trials is None and timeout is None and budget == Budget():
        raise UsageError("give an end: --n-trials, --total-trials, --timeout or a --budget-...")
    source = source_named(objective)
    client = client_named(model, api_base, api_key_env)
    sampler = LLMGuidedSampler(
        client,
        task=source.task,
        parameters=source.parameters,
        search_space=source.search_space,
        limits=None if rpm is None else Limits(requests_per_minute=rpm),
        budget=None if budget == Budget() else budget,
    )
    study = optuna.create_study(
        storage=storage_named(storage),
        study_name=study_name,
        sampler=sampler,
        direction=StudyDirection[direction.upper()],
        load_if_exists=True,
    )
    try:
        report = optimize(
            study,
            source.objective,
            n_trials=n_trials,
            total_trials=total_trials,
            timeout=timeout,
            n_workers=workers,
            catch=Exception if catch else (),
            max_failure_rate=max_failure_rate,
            show_progress_bar=not as_json,
        )
    except KeyboardInterrupt:
        click.echo("Stopped. The same command goes on with this study.", err=True)
        raise
    finally:
        run_sync(client.aclose)
    click.echo(json.dumps(asdict(report)) if as_json else str(report))


@main.command()
@click.argument("storage")
@click.argument("study_name", metavar="STUDY")
@click.option("--json", "as_json", is_flag=True)
@click.option("--watch", is_flag=True, help="Follow a running study until Ctrl-C.")
@click.option("--interval", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="Seconds.")
def show(storage: str, study_name: str, as_json: bool, watch: bool, interval: float) -> None:
    """Show a study's trials (value, role, cost, rationale, failure), and how its runs ended."""
    study = study_named(storage, study_name)
    drawn = partial(study_as_json if as_json else study_as_text, study)
    if not watch:
        click.echo(drawn())
        return
    with suppress(KeyboardInterrupt):
        follow(drawn, partial(_redraw, clear=not as_json), partial(time.sleep, interval))


def _redraw(text: str, *, clear: bool) -> None:
    """Put a text in the place of the last one where that can be: on a terminal, and as much of its end as fits."""
    if clear and sys.stdout.isatty():
        click.clear()
        text = fitted(text, shutil.get_terminal_size().lines - 1)
    click.echo(text)


@main.command()
@click.argument("storage")
@click.argument("study_name", metavar="STUDY")
@click.option("-o", "--output", default="report.html", show_default=True, help="Where the page goes.")
@click.option("--baseline", metavar="STUDY", help="A study by random search in the same storage, for comparison.")
def report(storage: str, study_name: str, output: str, baseline: str | None) -> None:
    """Write what came of a study, and what that took, as one HTML page."""
    other = None if baseline is None else study_named(storage, baseline)
    click.echo(write_report(study_named(storage, study_name), output, baseline=other))


@main.command()
@click.argument("storage")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, default=8080, show_default=True)
def dashboard(storage: str, host: str, port: int) -> None:
    """Write notes on all studies of a storage, and serve optuna-dashboard until Ctrl-C."""
    opened = existing_storage(storage)
    try:
        library = importlib.import_module("optuna_dashboard")
    except ImportError as error:
        raise UsageError("the dashboard is not installed: pip install 'optuna-llm[dashboard]'") from error
    for name in optuna.get_all_study_names(opened):
        study = optuna.load_study(study_name=name, storage=opened)
        if len(study.directions) == 1:
            annotate(study)
    library.run_server(opened, host=host, port=port)


@main.command()
@click.argument("model")
@click.option("--api-base")
@click.option("--api-key-env", help="The environment variable that holds the key.")
@click.option("--n-trials", type=click.IntRange(min=1), default=100, show_default=True, help="For the estimate.")
@click.option("--json", "as_json", is_flag=True)
def check(model: str, api_base: str | None, api_key_env: str | None, n_trials: int, as_json: bool) -> None:
    """Ask a model once: does it work, how fast, for how much, and how is its answer held to the schema."""
    try:
        found = checked(client_named(model, api_base, api_key_env), n_trials)
    except ClientError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"works": False, "error": type(error).__name__, "message": str(error)}))
        raise SystemExit(1) from None
    click.echo(json.dumps(found) if as_json else found_as_text(found))
    if not found["works"]:
        raise SystemExit(1)


@main.command()
@click.argument("objective", metavar="MODULE:OBJECTIVE")
@click.option("--direction", type=click.Choice(["minimize", "maximize"]), default="minimize", show_default=True)
@click.option("--storage", help="With --study-name: the prompt for a study that exists.")
@click.option("--study-name")
@click.option("--strategy", type=click.Choice(list(STRATEGIES)), default="adaptive", show_default=True)
@click.option("--n-trials", type=click.IntRange(min=1), help="Trials that are still to come, this one included.")
@click.option(
    "--structured-output",
    type=click.Choice(MODES),
    default="json_schema",
    show_default=True,
    help="What holds the answer to its schema, as check says it.",
)
@click.option("--json", "as_json", is_flag=True)
def prompt(
    objective: str,
    direction: str,
    storage: str | None,
    study_name: str | None,
    strategy: str,
    n_trials: int | None,
    structured_output: Mode,
    as_json: bool,
) -> None:
    """Print what a model would be sent for the next trial. Sends nothing."""
    if (storage is None) != (study_name is None):
        raise UsageError("--storage and --study-name go together")
    study = (
        study_named(storage, study_name)
        if storage and study_name
        else optuna.create_study(direction=StudyDirection[direction.upper()])
    )
    messages = messages_for(source_named(objective), study, strategy=strategy, left=n_trials, mode=structured_output)
    said = [f"[{message['role']}]\n{message['content']}" for message in messages]
    click.echo(json.dumps(messages) if as_json else "\n\n".join(said))
