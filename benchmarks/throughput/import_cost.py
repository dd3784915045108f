"""CPU of `import optuna_llm` beside that of `import optuna`, each in a fresh interpreter."""

import os
import resource
import subprocess
import sys
import tempfile

STATEMENTS = ("import optuna", "import optuna_llm")


def import_ratios(pairs: int) -> list[float]:
    """CPU of our import over Optuna's, for each of so many pairs; all read the same compiled files.

    The first run compiles: pip does that for what it installs, and nobody did it for a checkout.
    """
    with tempfile.TemporaryDirectory() as bytecode:
        _cpu_seconds(STATEMENTS[1], bytecode)
        costs = [[_cpu_seconds(statement, bytecode) for statement in STATEMENTS] for _ in range(pairs)]
    return [ours / optuna for optuna, ours in costs]


def _cpu_seconds(statement: str, bytecode: str) -> float:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], env=env | {"PYTHONPYCACHEPREFIX": bytecode}, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
