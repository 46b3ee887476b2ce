# make run: the page.  make test: every test.  make check: lint and types.  README.md says more.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run setup test test-repeat check browser clean models notebook

run: setup
	@exec $(BIN)/python -m dashboard serve

setup: $(VENV)/.installed models

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt constraints.txt | $(BIN)/python
	@echo "Installing the requirements (a few minutes, once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing what the tests need …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

models: $(VENV)/.installed
	@$(BIN)/python -m dashboard.models.bundled

check: $(VENV)/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# Two tests at a time, one thread each (tests/conftest.py); the slowest twenty are named at the end.
test: $(VENV)/.installed-dev models browser nginx
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadscope --no-loadscope-reorder --durations=20

# make test-repeat N=10: ten runs in a row, and a table of them.
N := 10
test-repeat: $(VENV)/.installed-dev models browser nginx
	@sh tests/repeat.sh $(N)

notebook: setup
	@$(BIN)/python -c 'import jupyterlab' 2>/dev/null || { echo "Installing JupyterLab …"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt jupyterlab; }
	@exec $(BIN)/python -m jupyterlab notebooks/tour.ipynb

browser:
	@sh tests/browser/need-chromium.sh

nginx: $(BIN)/python
	@sh tests/integration/need-nginx.sh

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
