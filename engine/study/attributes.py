"""Every name that is stored in a study, and what the attributes of a trial say.

    user attributes of a study
    ├── llm_run:RUN             lease of a run: {host, pid, started, at, model, taking}; once it is over, what it did:
    │                           {ended, stop_reason, seconds, n_complete, n_pruned, n_failed}, see `fleet.runs`; where
    │                           it died, another run writes that
    └── llm_spending:TOKEN      what one sampler spent that no trial has on record: {requests, tokens, usd}
    user attributes of a trial
    ├── llm                     how it was proposed: the sampler's {schema_version, model, rationale, role, context,
    │                           calls, reasks, repairs, duplicate_of, usage, latency}, the engine's {staleness, run,
    │                           worker}
    ├── llm:role, llm:cost, llm:tokens, llm:latency, llm:rationale
    │                           the same for tables and filters, one value each; what is unknown is left out
    ├── failure                 why it failed: {type, message, traceback}; `outcome` names the types that are ours
    ├── late_result_of          number of the trial whose result this one holds
    └── late_value              that result, if the study had no place for it
    system attributes of a trial
    ├── optuna_llm:run          its run, where `llm` is missing or names an earlier run
    ├── optuna_llm:worker       which of its run's workers ran it, from 0; where `llm` is missing or is an earlier one's
    ├── optuna_llm:retry_by     of a failed trial: the run that was to enqueue it anew; written before it was failed
    ├── retry_history           numbers of the trials that it is a retry of (Optuna's own)
    ├── failed_trial            the first of them (Optuna's own)
    ├── constraints:NAME        a constraint's value, above 0 where it is violated (Optuna's own; once a list)
    └── fixed_params            what it was enqueued with (Optuna's own)

Users and other tools may write any of them: every reader here takes any type, and passes over what it cannot read.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from ..outcome import INTERRUPTED, NOT_PROPOSED, RUN_DIED, SURPLUS
from ..records import EMPTY, Charge, Params, Proposal, Signature
from .distributions import same

LEASE_PREFIX: Final = "llm_run:"
SPENDING_PREFIX: Final = "llm_spending:"
LLM_ATTRIBUTE: Final = "llm"
FLAT_PREFIX: Final = "llm:"
FAILURE_ATTRIBUTE: Final = "failure"
LATE_ATTRIBUTE: Final = "late_result_of"
LATE_VALUE_ATTRIBUTE: Final = "late_value"
SIGNATURE_PREFIX: Final = "optuna_llm:"
RUN_ATTRIBUTE: Final = f"{SIGNATURE_PREFIX}run"
WORKER_ATTRIBUTE: Final = f"{SIGNATURE_PREFIX}worker"
RETRY_ATTRIBUTE: Final = "retry_history"
CONSTRAINTS: Final = "constraints"  # how the names of the system attributes begin that hold them
RETRY_BY_ATTRIBUTE: Final = "optuna_llm:retry_by"

# No study spends so many tokens or dollars: a larger amount is somebody's mistake, and one sum with it would be wrong
# for ever.
MAX_AMOUNT: Final = 1e15

# A model that is always wrong would fill the record, which has to stay under 4 kB; a dozen show what it gets wrong.
MAX_REPAIRS: Final = 12

# Characters of a rationale that a column of a table has room for.
MAX_FLAT_RATIONALE: Final = 200

_UNSPENT: Final = {"calls": 0, "reasks": 0, "repairs": [], "usage": None, "latency": 0.0}


# -- how a trial was proposed, and what that took


def llm_of(trial: FrozenTrial) -> Mapping[str, Any]:
    """The record of a trial's proposal; empty if there is none. Nothing in it is sure to be of the right type."""
    return as_mapping(trial.user_attrs.get(LLM_ATTRIBUTE))


def is_made_of(trial: FrozenTrial, proposal: Proposal, *, params_in_one_write: bool) -> bool:
    """Whether a trial that nobody has begun to run is what `StudyDoor.create` makes of a proposal."""
    ours = {"staleness": None, "run": None, "worker": None}
    one, other = ({**record, **ours} for record in (llm_of(trial), proposal.provenance))
    return one == other and trial.params == (proposal.params if params_in_one_write else {})


def unspent_record(trial: FrozenTrial, **changes: Any) -> dict[str, Any]:
    """The user attributes of a trial that repeats this one: its record, less what its proposal took."""
    llm = llm_of(trial)
    return proposal_attributes({**llm, **_UNSPENT, **changes}) if llm else {}


def proposal_attributes(llm: Mapping[str, Any]) -> dict[str, Any]:
    """The user attributes that say how a trial was proposed: the record, then flat ones for whoever filters and sorts.

    A `llm:tokens` or `llm:cost` that is missing is unknown.
    """
    usage = as_mapping(llm.get("usage"))
    rationale = llm.get("rationale")
    flat = {
        "role": llm.get("role"),
        "cost": as_amount(usage.get("cost")),
        "tokens": charge_of(llm).tokens if usage else None,
        "latency": as_amount(llm.get("latency")),
        "rationale": rationale[:MAX_FLAT_RATIONALE] if isinstance(rationale, str) and rationale else None,
    }
    return {
        LLM_ATTRIBUTE: dict(llm),
        **{f"{FLAT_PREFIX}{name}": value for name, value in flat.items() if value is not None},
    }


def charge_of(provenance: Mapping[str, Any]) -> Charge:
    """What an attribute `llm` says that its proposal took; what is unknown counts as nothing."""
    usage = as_mapping(provenance.get("usage"))
    tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return _charge(provenance.get("calls"), usage.get("cost"), *tokens)


def is_of_unknown_cost(provenance: Mapping[str, Any]) -> bool:
    """Whether an attribute `llm` tells of calls that cost nobody knows what."""
    usage = as_mapping(provenance.get("usage"))
    return bool(as_count(provenance.get("calls"))) and as_amount(usage.get("cost")) is None


def counts_of(provenance: Mapping[str, Any]) -> dict[str, float | None]:
    """What an attribute `llm` adds to the counts of a `RunReport`, by their names; a cost of None is unknown."""
    usage, charge = as_mapping(provenance.get("usage")), charge_of(provenance)
    return {
        "cost": as_amount(usage.get("cost")),
        "llm_seconds": as_amount(provenance.get("latency")) or 0.0,
        "llm_calls": charge.requests,
        "tokens": charge.tokens,
        "cached_tokens": as_count(usage.get("cached_tokens")),
        "written_tokens": as_count(usage.get("written_tokens")),
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


def signed(by: Signature) -> dict[str, Any]:
    """What the attribute `llm` says of whose a trial is."""
    return {"run": by.run} if by.worker is None else {"run": by.run, "worker": by.worker}


def signature_attributes(by: Signature | None) -> dict[str, Any]:
    """The system attributes that say whose a trial is where its `llm` does not."""
    return {} if by is None else {f"{SIGNATURE_PREFIX}{name}": value for name, value in signed(by).items()}


def run_of(trial: FrozenTrial) -> str | None:
    """The run that a trial belongs to; None for trials of others."""
    run = trial.system_attrs.get(RUN_ATTRIBUTE) or llm_of(trial).get("run")
    return run if isinstance(run, str) else None


def worker_of(trial: FrozenTrial) -> int | None:
    """Which of its run's workers ran a trial, from 0; None where nobody wrote it.

    A worker is one of the places that the run filled with trials; what ran them there may number itself otherwise.
    """
    worker = as_amount(trial.system_attrs.get(WORKER_ATTRIBUTE, llm_of(trial).get("worker")))
    return None if worker is None else int(worker)


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


def is_unevaluated(trial: FrozenTrial) -> bool:
    """Whether a trial was failed before its objective ran: its study's total was reached, or nothing was proposed."""
    return failure_type(trial) in (SURPLUS, NOT_PROPOSED)


# -- what a trial violates


def violations_of(trial: FrozenTrial) -> Mapping[str, float]:
    """The constraints that a trial violates, and by how much; a trial that violates any is never the best."""
    if not any(name.startswith(CONSTRAINTS) for name in trial.system_attrs):
        return EMPTY
    try:
        return {name: value for name, value in trial.constraints.items() if not value <= 0.0}
    except TypeError:  # somebody else's attribute
        return EMPTY


# -- what a trial repeats


def retry_history(trial: FrozenTrial) -> Sequence[int]:
    """The numbers of the trials that this one is a retry of, the first one first."""
    history = as_list(trial.system_attrs.get(RETRY_ATTRIBUTE))
    return [number for number in history if isinstance(number, int) and not isinstance(number, bool)]


def next_try(trial: FrozenTrial) -> FrozenTrial:
    """The trial that is enqueued for a failed one."""
    return create_trial(
        state=TrialState.WAITING,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=unspent_record(trial, run=None, worker=None),
        system_attrs=_retry_attributes(trial),
    )


def _retry_attributes(trial: FrozenTrial) -> dict[str, Any]:
    """The system attributes of a failed trial's next try: those of Optuna's own `RetryFailedTrialCallback`."""
    history = [*retry_history(trial), trial.number]
    theirs = {name: value for name, value in trial.system_attrs.items() if not name.startswith(CONSTRAINTS)}
    attributes = {"failed_trial": history[0], **theirs, RETRY_ATTRIBUTE: history}
    for name in (RUN_ATTRIBUTE, WORKER_ATTRIBUTE, RETRY_BY_ATTRIBUTE):  # whoever takes it signs it
        attributes.pop(name, None)
    return attributes


def retry_promised_by(trial: FrozenTrial) -> str | None:
    """The run that was to enqueue a failed trial anew, whether it did or died before; None if nobody was."""
    run = trial.system_attrs.get(RETRY_BY_ATTRIBUTE)
    return run if isinstance(run, str) else None


def repeats(trial: FrozenTrial, number: int) -> bool:
    """Whether a trial is the next try of another, or holds its late result."""
    return tuple(retry_history(trial))[-1:] == (number,) or trial.user_attrs.get(LATE_ATTRIBUTE) == number


def is_meant_to_repeat(trial: FrozenTrial) -> bool:
    """Whether a trial has the parameters of an earlier one because that one came to nothing."""
    return RETRY_ATTRIBUTE in trial.system_attrs or LATE_ATTRIBUTE in trial.user_attrs


def duplicated(trial: FrozenTrial, others: Iterable[FrozenTrial]) -> int | None:
    """The number of the trial of which this one is the duplicate, `others` having the same parameters.

    Of two running trials the higher number is the duplicate; otherwise the one told last, for only that one sees all
    parameters of both.
    """
    for other in others:
        first = other.number < trial.number
        owned = llm_of(other).get("duplicate_of") == trial.number
        if first or (other.state.is_finished() and other.number > trial.number and not owned):
            return other.number
    return None


def fixed_params(trial: FrozenTrial) -> Mapping[str, Any]:
    """The values that a trial was enqueued with."""
    return {**as_mapping(trial.system_attrs.get("fixed_params")), **trial.params}


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
