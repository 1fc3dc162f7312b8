# Needs Python 3.11 to 3.13, pip and make; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check -c constraints.txt
# Two files of tests at a time; those that take long go first (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The main job, on the dataset that comes with scikit-learn.
DEMO := search digits --latency 0.2ms --time 100s

.PHONY: help demo test check format
.NOTPARALLEL:

help:
	@echo "make demo    set up, then: archfit $(DEMO)"
	@echo "make test    set up, then run the tests"
	@echo "make check   set up, then all that must pass before a commit: format, lint, types, imports, tests"
	@echo "make format  format the code and mend what the linter can"

demo: $(VENV)/installed
	$(BIN)/archfit $(DEMO)

test: $(VENV)/installed-dev
	$(PYTEST)

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST)

format: $(VENV)/installed-dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# The stamps are written last, so that a broken-off installation is taken up again.
$(VENV)/installed: pyproject.toml constraints.txt
	@echo "Installing into $(VENV); this takes minutes the first time."
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e .
	@touch $@

# What the developers install holds what the demo needs, hence both stamps.
$(VENV)/installed-dev: pyproject.toml constraints.txt
	@echo "Installing into $(VENV); this takes minutes the first time."
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e '.[dev]'
	@touch $(VENV)/installed $@
