"""Every name that is stored in a study, and what the attributes of a trial say.

    user attributes of a study
    ├── llm_run:RUN             lease of a run: {host, pid, started, at, model, taking}, or {ended: true}
    └── llm_spending:TOKEN      what one sampler spent that no trial has on record: {requests, tokens, usd}
    user attributes of a trial
    ├── llm                     how it was proposed: the sampler's {schema_version, model, rationale, role, context,
    │                           calls, reasks, repairs, duplicate_of, usage, latency}, the engine's {staleness, run}
    ├── failure                 why it failed: {type, message, traceback}; `outcome` names the types that are ours
    ├── late_result_of          number of the trial whose result this one holds
    └── late_value              that result, if the study had no place for it
    system attributes of a trial
    ├── optuna_llm:run          its run, where `llm` is missing or names an earlier run
    ├── retry_history           numbers of the trials that it is a retry of (Optuna's own)
    ├── failed_trial            the first of them (Optuna's own)
    └── fixed_params            what it was enqueued with (Optuna's own)

Users and other tools may write any of them: every reader here takes any type, and passes over what it cannot read.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from ..outcome import INTERRUPTED, RUN_DIED, SURPLUS
from ..records import EMPTY, Charge, Params
from .distributions import same

LEASE_PREFIX: Final = "llm_run:"
SPENDING_PREFIX: Final = "llm_spending:"
LLM_ATTRIBUTE: Final = "llm"
FAILURE_ATTRIBUTE: Final = "failure"
LATE_ATTRIBUTE: Final = "late_result_of"
LATE_VALUE_ATTRIBUTE: Final = "late_value"
RUN_ATTRIBUTE: Final = "optuna_llm:run"
RETRY_ATTRIBUTE: Final = "retry_history"

# No study spends so many tokens or dollars: a larger amount is somebody's mistake, and one sum with it would be wrong
# for ever.
MAX_AMOUNT: Final = 1e15

# A model that is always wrong would fill the record, which has to stay under 4 kB; a dozen show what it gets wrong.
MAX_REPAIRS: Final = 12

_UNSPENT: Final = {"calls": 0, "reasks": 0, "repairs": [], "usage": None, "latency": 0.0}


# -- how a trial was proposed, and what that took


def llm_of(trial: FrozenTrial) -> Mapping[str, Any]:
    """The record of a trial's proposal; empty if there is none. Nothing in it is sure to be of the right type."""
    return as_mapping(trial.user_attrs.get(LLM_ATTRIBUTE))


def unspent_record(trial: FrozenTrial, **changes: Any) -> dict[str, Any]:
    """The user attributes of a trial that repeats this one: its record, less what its proposal took."""
    llm = llm_of(trial)
    return {LLM_ATTRIBUTE: {**llm, **_UNSPENT, **changes}} if llm else {}


def charge_of(provenance: Mapping[str, Any]) -> Charge:
    """What an attribute `llm` says that its proposal took; what is unknown counts as nothing."""
    usage = as_mapping(provenance.get("usage"))
    tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return _charge(provenance.get("calls"), usage.get("cost"), *tokens)


def counts_of(provenance: Mapping[str, Any]) -> dict[str, float | None]:
    """What an attribute `llm` adds to the counts of a `RunReport`, by their names; a cost of None is unknown."""
    usage, charge = as_mapping(provenance.get("usage")), charge_of(provenance)
    return {
        "cost": as_amount(usage.get("cost")),
        "llm_seconds": as_amount(provenance.get("latency")) or 0.0,
        "llm_calls": charge.requests,
        "tokens": charge.tokens,
        "cached_tokens": as_count(usage.get("cached_tokens")),
        "reasks": as_count(provenance.get("reasks")),
        "repairs": len(as_list(provenance.get("repairs"))),
        "duplicates": provenance.get("duplicate_of") is not None,
    }


def untracked_charges(study_attributes: Mapping[str, Any]) -> dict[str, Charge]:
    """What was spent that no trial has on record, by the token of who spent it."""
    records = {name: as_mapping(value) for name, value in study_attributes.items() if name.startswith(SPENDING_PREFIX)}
    return {
        name.removeprefix(SPENDING_PREFIX): _charge(record.get("requests"), record.get("usd"), record.get("tokens"))
        for name, record in records.items()
    }


def _charge(requests: Any, usd: Any, *tokens: Any) -> Charge:
    return Charge(requests=as_count(requests), tokens=sum(map(as_count, tokens)), usd=as_amount(usd) or 0.0)


def run_of(trial: FrozenTrial) -> str | None:
    """The run that a trial belongs to; None for trials of others."""
    run = trial.system_attrs.get(RUN_ATTRIBUTE) or llm_of(trial).get("run")
    return run if isinstance(run, str) else None


# -- why a trial failed


def failure_type(trial: FrozenTrial) -> str | None:
    """The recorded type of a failed trial's failure; None for other trials."""
    if trial.state is not TrialState.FAIL:
        return None
    kind = as_mapping(trial.user_attrs.get(FAILURE_ATTRIBUTE)).get("type")
    return kind if isinstance(kind, str) else None


def is_interrupted(trial: FrozenTrial) -> bool:
    """Whether a signal, or its run's cancellation, ended a trial: its configuration may be proposed again."""
    return failure_type(trial) == INTERRUPTED


def is_reaped(trial: FrozenTrial) -> bool:
    """Whether a trial was failed because its run was thought dead."""
    return failure_type(trial) == RUN_DIED


def is_inconclusive(trial: FrozenTrial) -> bool:
    """Whether a trial failed for a reason that says nothing about its configuration.

    A reaped trial is inconclusive, and yet is not proposed again: it may have killed its run, it is enqueued anew where
    retries allow, and its result may still come.
    """
    return is_interrupted(trial) or is_reaped(trial)


def is_surplus(trial: FrozenTrial) -> bool:
    """Whether a trial was failed, unevaluated, because its study's total was reached."""
    return failure_type(trial) == SURPLUS


# -- what a trial repeats


def retry_history(trial: FrozenTrial) -> Sequence[int]:
    """The numbers of the trials that this one is a retry of, the first one first."""
    numbers: Sequence[int] = trial.system_attrs.get(RETRY_ATTRIBUTE, ())
    return numbers


def is_meant_to_repeat(trial: FrozenTrial) -> bool:
    """Whether a trial has the parameters of an earlier one because that one came to nothing."""
    return RETRY_ATTRIBUTE in trial.system_attrs or LATE_ATTRIBUTE in trial.user_attrs


def fixed_params(trial: FrozenTrial) -> Mapping[str, Any]:
    """The values that a trial was enqueued with."""
    return {**trial.system_attrs.get("fixed_params", EMPTY), **trial.params}


def has_params(trial: FrozenTrial, params: Params) -> bool:
    """Whether a trial has exactly these parameters, choices told apart as storages do."""
    if trial.params != params:
        return False
    choices = (name for name, d in trial.distributions.items() if isinstance(d, CategoricalDistribution))
    return all(same(trial.params[name], params[name]) for name in choices)


# -- JSON that others may have written


def as_mapping(value: Any) -> Mapping[str, Any]:
    """The JSON object, or an empty one for anything else."""
    return value if isinstance(value, Mapping) else EMPTY


def as_list(value: Any) -> Sequence[Any]:
    """The JSON array, or an empty one for anything else."""
    return value if isinstance(value, list | tuple) else ()


def as_amount(value: Any) -> float | None:
    """The number if something can have taken that much, else None."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_AMOUNT
    return float(value) if usable else None


def as_count(value: Any) -> int:
    """The whole number of things, 0 for what is no number."""
    return int(as_amount(value) or 0)
