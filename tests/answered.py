"""Runs a script as it stands, with every model answered at random: `python tests/answered.py SCRIPT`."""

import runpy
import sys
from pathlib import Path

from stand_ins import answer_models

if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    answer_models(local=True)
    runpy.run_path(sys.argv[0], run_name="__main__")
