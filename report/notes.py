"""Notes for optuna-dashboard: written where it looks for them, so that it need not be installed here.

    system attributes of a study
    ├── dashboard:note_ver, dashboard:note_str:0, :1, ...                   the study's note, in pieces
    ├── dashboard:TRIAL_ID:note_ver, dashboard:TRIAL_ID:note_str:0, ...     that of a trial
    └── dashboard:plot_data:workers:0, :1, ...                              the workers' timeline, as Plotly's JSON

The dashboard reads Markdown, and versions of it read HTML in it: foreign text has every sign of either as an entity.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from optuna.study import Study
from optuna.trial import TrialState

from ..engine.foreign_text import clean
from ..engine.logs import counted
from ..engine.study.attributes import llm_of
from ..engine.study.optuna_internals import id_of, storage_of, study_id_of
from ..engine.table import row_of
from .endings import ending
from .figures import timeline_figure
from .findings import STATE_WORDS, Findings, findings_of
from .tallies import Row

PIECE: Final = 2045  # characters: what the dashboard itself puts into one attribute
QUOTE_LENGTH: Final = 600
SIGNS: Final = "&<>\"'\\`*_{}[]()#+-.!|~:@/$"  # of HTML and Markdown
TIMELINE: Final = "dashboard:plot_data:workers:"

# It begins every note that is ours, and Markdown shows nothing of it; other notes are people's, and stay.
NOTE_MARK: Final = "[//]: # (optuna-llm)"


def annotate(study: Study) -> int:
    """Write what optuna-dashboard shows: notes, and the workers' timeline.

    Notes are on the study, and on its best trial, failed and re-asked ones.
    Returns how many trials have a note now. A run writes none: call this once at its end. Notes that people wrote stay
    as they are, and ours are written anew where they changed. Raises `UsageError` where the study has several
    objectives.
    """
    findings = findings_of(study)
    best = findings.best.number if findings.best else None
    attributes = storage_of(study).get_study_system_attrs(study_id_of(study))
    _write(study, attributes, "dashboard:", _study_note(findings))
    _draw(study, attributes, findings)
    written = 0
    for trial in study.get_trials(deepcopy=False):
        prefix = f"dashboard:{id_of(trial)}:"
        noted = f"{prefix}note_str:0" in attributes  # once the best, perhaps
        reasked = bool(llm_of(trial).get("reasks"))
        if trial.number == best or reasked or noted or trial.state is TrialState.FAIL:
            _write(study, attributes, prefix, _trial_note(row_of(trial), best=trial.number == best))
            written += 1
    return written


def _write(study: Study, attributes: Mapping[str, Any], prefix: str, note: str) -> None:
    """Write a note, unless it is there already or somebody else's is."""
    there = "".join(_pieces_of(attributes, f"{prefix}note_str:"))
    if there == note or (there and not there.startswith(NOTE_MARK)):
        return
    _write_pieces(study, attributes, f"{prefix}note_str:", note)
    version = attributes.get(f"{prefix}note_ver", 0)
    version = version + 1 if isinstance(version, int) else 1
    storage_of(study).set_study_system_attr(study_id_of(study), f"{prefix}note_ver", version)


def _draw(study: Study, attributes: Mapping[str, Any], findings: Findings) -> None:
    """Write the timeline of the last trials, unless it is there already."""
    figure = timeline_figure(findings)
    if figure is None:
        return
    figure["layout"]["title"] = {"text": "Workers", "x": 0.02, "y": 0.98, "yanchor": "top"}  # a report has a heading
    figure["layout"]["margin"]["t"] = 110  # for three rows of the legend below it
    text = json.dumps(figure, separators=(",", ":"))
    if text != "".join(_pieces_of(attributes, TIMELINE)):
        _write_pieces(study, attributes, TIMELINE, text)


def _write_pieces(study: Study, attributes: Mapping[str, Any], prefix: str, text: str) -> None:
    storage, study_id = storage_of(study), study_id_of(study)
    pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
    left_over = sum(1 for _ in _pieces_of(attributes, prefix)) - len(pieces)
    for place, piece in enumerate([*pieces, *[""] * left_over]):
        if attributes.get(f"{prefix}{place}") != piece:
            storage.set_study_system_attr(study_id, f"{prefix}{place}", piece)


def _pieces_of(attributes: Mapping[str, Any], prefix: str) -> Iterator[str]:
    place = 0
    while isinstance(piece := attributes.get(f"{prefix}{place}"), str):
        yield piece
        place += 1


def _study_note(findings: Findings) -> str:
    best, spending, proposing = findings.best, findings.spending, findings.proposing
    unknown = f", and {counted(spending.unknown, 'trial')} of unknown cost" if spending.unknown else ""
    states = ", ".join(f"{count} {STATE_WORDS[state]}" for state, count in findings.states().items())
    return _note(
        {
            "Stopped": _quoted(ending(findings.runs[-1].stop_reason)) if findings.runs else "no run on record",
            "Model": " ".join(_quoted(model) for model in findings.models) or "none on record",
            "Trials": states or "none",
            "Best": f"{best.value:.6g}, trial {best.number}" if best else "none",
            "Spent": f"${spending.cost:.4f}{unknown}, {counted(spending.tokens, 'token')}, "
            f"{counted(spending.calls, 'call')}",
            "Proposals": f"{counted(proposing.reasks, 're-ask')}, {counted(proposing.repairs, 'repair')}, "
            f"{counted(proposing.duplicates, 'duplicate')}",
        }
    )


def _trial_note(row: Row, *, best: bool) -> str:
    cost = "unknown" if row["cost"] is None else f"${row['cost']:.4f}"
    lines = {
        "Best": "the best trial so far" if best else None,
        "Why": _quoted(row["rationale"]) if row["rationale"] else None,
        "Failure": _quoted(row["failure"]) if row["failure"] else None,
        "Calls": f"{row['calls']}, {row['reasks']} of them re-asks; cost {cost}" if row["calls"] else None,
        "Duplicate": f"of trial {_quoted(row['duplicate_of'])}" if row["duplicate_of"] is not None else None,
    }
    return _note({name: text for name, text in lines.items() if text})


def _note(lines: Mapping[str, str]) -> str:
    return NOTE_MARK + "\n\n" + "\n".join(f"- **{name}**: {text}" for name, text in lines.items())


def _quoted(text: object) -> str:
    """Foreign text as HTML that neither Markdown nor a browser reads further."""
    return "".join(f"&#{ord(c)};" if c in SIGNS else c for c in clean(str(text), QUOTE_LENGTH))
