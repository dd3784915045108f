"""Every example runs with the wheel alone, as it does for those who install it."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from example_runs import EXAMPLES, SCHEMA_MODEL, run

NEEDS = {  # heavy libraries that the checks do not install
    "libraries/torch_pruning.py": "torch",
    "libraries/lightning_pruning.py": "lightning",
    "libraries/mlflow_callback.py": "mlflow",
    "libraries/instructor_client.py": "instructor",
}
WITH_LOCAL_MODEL = {"demo.py", "llama_server.py", "llm_pipeline.py"}  # run by tests of their own: they ask it directly
SCRIPTS = sorted(path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.glob("*.py")) + sorted(
    path.relative_to(EXAMPLES).as_posix() for path in (EXAMPLES / "libraries").glob("*.py")
)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in WITH_LOCAL_MODEL])
def test_an_example_runs_with_the_wheel(name: str, installed: Path, tmp_path: Path) -> None:
    library = NEEDS.get(name)
    if library is not None and find_spec(library) is None:
        pytest.skip(f"{library} is not installed: `pip install {library}` to run its example")
    has_model = "\nMODEL" in (EXAMPLES / name).read_text(encoding="utf-8")
    assert run(name, tmp_path, python=installed, **({"MODEL": SCHEMA_MODEL} if has_model else {}))
