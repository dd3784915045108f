"""Runs an example as a reader would: in a fresh interpreter, elsewhere, with other constants at its top."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
HERE = Path(__file__).resolve().parent
ANSWERED = HERE / "answered.py"
LIMIT = 600  # seconds; the embedded model shares its cores with other tests
SCHEMA_MODEL = "__import__('optuna_llm').FunctionClient(__import__('support').SchemaModel())"


def changed(source: str, constants: dict[str, Any]) -> str:
    """The script with other values for constants at its top; each must be there, or the change would do nothing."""
    for name, value in constants.items():
        pattern = re.compile(rf"^({name}(?:: [^=\n]+)?) = [^\n]*$", re.MULTILINE)
        assert len(pattern.findall(source)) == 1, name
        written = value if name == "MODEL" else repr(value)
        source = pattern.sub(lambda match: f"{match[1]} = {written}", source)  # noqa: B023 - called at once
    return source


def environment(*, sources: bool = True) -> dict[str, str]:
    """This process's, where scripts find `support` and no network.

    Threads of numerical libraries do not spin while they wait.
    """
    inherited = os.environ.get("PYTHONPATH") if sources else None
    path = os.pathsep.join([str(HERE), str(HERE / "offline"), *filter(None, [inherited])])
    return os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": path, "OMP_WAIT_POLICY": "passive"}


def run(name: str, folder: Path, *, python: Path | None = None, answered: bool = False, **constants: Any) -> str:
    """What `name` prints, as it stands or with other constants; MODEL may be an expression such as SCHEMA_MODEL.

    A `python` that is given has the package installed, and must not find its sources. `answered`: every model of the
    script is a function.
    """
    script = EXAMPLES / name
    if constants:
        source = script.read_text(encoding="utf-8")
        script = folder / script.name
        script.write_text(changed(source, constants), encoding="utf-8")
    done = subprocess.run(
        [python or sys.executable, *([ANSWERED] if answered else []), script],
        cwd=folder,
        env=environment(sources=python is None),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout
