"""The calls of one trial whose study is out of reach: answered from what is known, and passed on as far as it goes."""

import pickle
import threading
from collections.abc import Mapping
from typing import Any, Final

import cloudpickle
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)

from ...engine.errors import THIS_RUN, UsageError
from ...engine.names import undeclared
from ...engine.study.distributions import contains
from ..messages import Answer, TrialCall, loaded_error
from .assignment import Assignment, Beginning
from .mailbox import Channel, Letters

# Seconds for which an answer is waited for: longer than the run tries a storage that fails, and then for no other one.
ANSWER_SECONDS: Final = 90.0

SUGGESTED: Final[Mapping[str, type[BaseDistribution]]] = {
    "suggest_float": FloatDistribution,
    "suggest_int": IntDistribution,
    "suggest_categorical": CategoricalDistribution,
}


class RecordedCalls:
    """Answers a trial's calls from its assignment, keeps those that the study is to hear of, and sends them to the run.

    `unseen`: the trial's files are not seen here. `unanswered`: `should_prune()` was asked, and nobody answered.

    The lock's invariant: `made` is in the order in which the calls were answered, and what was sent are the first of
    them, with questions between them, of which one at most is open.
    """

    def __init__(self, assignment: Assignment) -> None:
        self._given = assignment
        self._lock = threading.Lock()
        self._state: dict[str, Any] = {
            "params": dict(assignment.params),
            "distributions": dict(assignment.distributions),
            "user_attrs": dict(assignment.user_attrs),
            "constraints": {},
            "relative_params": dict(assignment.proposed),
            "datetime_start": assignment.datetime_start,
        }
        self.made: list[bytes] = []
        self.read: set[str] = set()
        self.refused = ""
        self.unseen = self.unanswered = self._begun = False
        self._letters: Letters | None = Letters(calls=Channel(assignment.calls), answers=Channel(assignment.answers))

    def is_over(self) -> bool:
        """Whether the run has given the trial up, as far as it can be seen here."""
        return self._letters is not None and not self._letters.answers.exists

    def begin(self, beginning: Beginning) -> None:
        """Say to the run that the objective is about to begin."""
        with self._lock:
            self._send(pickle.dumps(beginning))
            self._begun = self._begun or self._letters is not None
            self.unseen = not self._begun

    def __call__(self, name: str, *args: Any, read: bool = False, **kwargs: Any) -> Any:
        """The value of a call or of an attribute; raises `UsageError` for a name that was not proposed."""
        with self._lock:
            if read:
                self.read.add(name)
                return self._state[name]
            if name == "should_prune":
                return self._given.prunes and self._should_prune()
            call = cloudpickle.dumps(TrialCall(name=name, args=args, kwargs=kwargs))  # what cannot travel raises here
            value = self._answer(name, args, kwargs)
            self.made.append(call)
            self._send(call)
            return value

    def _send(self, message: bytes) -> None:
        """Have the run hear a message soon; where it cannot, this one and all later ones come with the record."""
        if self._letters is not None:
            try:
                self._letters.calls.append(message)
            except FileNotFoundError:  # never seen here, or removed since: then the trial is over
                self._letters = self._letters if self._begun else None
            except OSError:
                self._letters = None

    def _should_prune(self) -> bool:
        """What the study's pruner says; True if the trial is over, False if nobody answers."""
        self._send(pickle.dumps(TrialCall(name="should_prune", args=())))
        try:
            answer = None if self._letters is None else self._letters.answers.next_message(ANSWER_SECONDS)
        except FileNotFoundError:
            return True
        if answer is None:
            self.unanswered, self._letters = True, None
            return False
        given: Answer = pickle.loads(answer)
        error = loaded_error(given.error)
        if error is not None:
            raise error
        return bool(given.value)

    def _answer(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in SUGGESTED:
            parameter, *bounds = args
            return self._suggest(parameter, SUGGESTED[name](*bounds, **kwargs))
        if name == "set_user_attr":
            self._set("user_attrs", *args)
        if name == "set_constraint":
            self._set("constraints", *args, **kwargs)
        return None

    def _set(self, kind: str, /, key: str, value: Any) -> None:
        self._state[kind][key] = value

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        """As `optuna.Trial` does, but for the last resort: there is no sampler to ask."""
        params, distributions = self._state["params"], self._state["distributions"]
        if name in distributions:
            check_distribution_compatibility(distributions[name], distribution)
            return params[name]
        params[name], distributions[name] = self._value(name, distribution), distribution
        return params[name]

    def _value(self, name: str, distribution: BaseDistribution) -> Any:
        given = self._given
        if name in given.enqueued:
            return given.enqueued[name]
        if distribution.single():
            return vars(distribution)["choices"][0] if "choices" in vars(distribution) else vars(distribution)["low"]
        if name in given.proposed:
            check_distribution_compatibility(given.ranges[name], distribution)
            if contains(distribution, given.proposed[name]):
                return given.proposed[name]
        raise self._refusal(name, distribution)

    def _refusal(self, name: str, distribution: BaseDistribution) -> UsageError:
        given = self._given
        if given.declared is not None and name not in given.declared:
            error = undeclared(name, given.declared)
        elif name in given.proposed:
            error = UsageError(
                f"{given.proposed[name]!r} was proposed for the parameter {name!r}, and the objective asks for one of "
                f"{distribution!r}: an objective on an executor can only suggest what was proposed; declare that range"
            )
        else:
            error = UsageError(
                f"the parameter {name!r} is not among the proposed ones, {sorted({*given.params, *given.proposed})!r}: "
                "an objective on an executor cannot ask for more while it runs; declare it in `search_space=`"
            )
        error.study = THIS_RUN
        self.refused = str(error)
        return error
