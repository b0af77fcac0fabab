# `make run` and `make test` are all that a newcomer needs; both install what is missing.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2 # processes that share the test files; each has its own browser and servers
PIP := $(BIN)/pip --disable-pip-version-check
LOCK := requirements/torch.txt requirements/lock.txt pyproject.toml

.PHONY: install run test lint bench peers screenshots lock

install: .venv/.tests-installed

run: .venv/.installed
	$(BIN)/python app.py

test: .venv/.tests-installed
	sh tests/e2e/ensure_chromium.sh
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: .venv/.tests-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

bench: .venv/.tests-installed
	$(BIN)/python -m benchmarks

# the packages that the benchmarks compare with, in an environment of their own; what they pin can't be installed beside ours
peers:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet -r requirements/torch.txt
	.venv-peers/bin/pip install --quiet --no-deps -r requirements/peers.txt spatialmeta==0.0.3.0

screenshots: .venv/.tests-installed
	sh tests/e2e/ensure_chromium.sh
	$(BIN)/python -m tests.e2e.screenshots

# torch first and alone: a CPU build that is already there (or on an index you set) then serves all that follows
.venv/.torch: requirements/torch.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "Expected Python 3.11, 3.12 or 3.13; found $$($(PYTHON) --version). Name another: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python's venv module is missing. On Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install --quiet -r requirements/torch.txt
	@touch $@

.venv/.installed: .venv/.torch $(LOCK)
	$(PIP) install --quiet -c requirements/lock.txt -e .
	@touch $@

.venv/.tests-installed: .venv/.installed
	$(PIP) install --quiet -c requirements/lock.txt -e '.[test]'
	@touch $@

lock: .venv/.tests-installed
	$(PIP) install --quiet -e '.[test,cluster]'
	{ echo "# Exact versions of everything, for Python 3.11 to 3.13: a constraints file (pip install -c). Made by 'make lock'."; \
	  $(PIP) freeze --exclude-editable | grep -vE '^(torch|pip|setuptools)=='; } > requirements/lock.txt
