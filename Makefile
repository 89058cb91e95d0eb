# Two commands: `make run` (the main job on the sample set) and `make test` (everything that must hold).
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test test-postgres lint slow clean

run: $(VENV)/.installed
	$(BIN)/imprimatur demo

# The rooms first, then the whole in a process of its own: a night's failure must not take the rooms' results along.
test: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest --ignore=tests/e2e
	$(BIN)/python -m pytest tests/e2e

# The ledger and everything else that uses the catalog, on a private PostgreSQL server that the tests start and stop.
test-postgres: $(VENV)/.installed-dev
	IMPRIMATUR_TEST_POSTGRES=required $(BIN)/python -m pytest -k postgresql

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow

$(VENV)/.installed: pyproject.toml constraints.txt
	$(shell command -v $(PYTHON) || echo python3) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) dist build
