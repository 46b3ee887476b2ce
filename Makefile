# make run: the page.  make test: every test.  make check: lint and types.  docs/development.md says more.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps
# So that a notebook in any folder imports `dashboard`, and `transformer-dashboard` is a command; needs no network.
HERE := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .

.PHONY: run setup test test-repeat check browser clean lock models notebook

run: setup
	@exec $(BIN)/python -m dashboard serve

setup: $(VENV)/.installed-here models

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv $(VENV)

# A file whose hash is not in locks/ is refused.
$(VENV)/.installed: $(wildcard locks/*torch*) locks/run.txt locks/cuda.txt | $(BIN)/python
	@echo "Installing the requirements (a few minutes, once) …"
	@sh locks/install-torch.sh $(BIN)/python
	@$(INSTALL) -r locks/run.txt
	@touch $@

# The package itself, as it lies here.
$(VENV)/.installed-here: pyproject.toml $(VENV)/.installed
	@$(HERE)
	@touch $@

$(VENV)/.installed-dev: locks/test.txt $(VENV)/.installed-here
	@echo "Installing what the tests need …"
	@$(INSTALL) -r locks/test.txt
	@touch $@

# Node comes with locks/test.txt; what checks the scripts is in package-lock.json, each with its hash.
$(VENV)/.installed-scripts: package.json package-lock.json $(VENV)/.installed-dev
	@echo "Installing what checks the scripts …"
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/npm ci --silent
	@touch $@

$(VENV)/.installed-notebook: locks/notebook.txt $(VENV)/.installed
	@echo "Installing JupyterLab …"
	@$(INSTALL) -r locks/notebook.txt
	@touch $@

# For who changes a requirement: writes locks/ and constraints.txt. make lock UPGRADE=--upgrade takes newer versions.
lock: $(BIN)/python
	@$(INSTALL) -r locks/lock.txt
	@$(BIN)/python locks/lock.py $(UPGRADE)

models: $(VENV)/.installed
	@$(BIN)/python -m dashboard.catalog.bundled

SCRIPTS := assets dashboard/exports/standalone.js benchmarks/probe.js tests/js eslint.config.js
check: $(VENV)/.installed-dev $(VENV)/.installed-scripts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/node node_modules/eslint/bin/eslint.js $(SCRIPTS)
	@$(BIN)/node node_modules/typescript/bin/tsc --project tsconfig.json
	@$(BIN)/node node_modules/typescript/bin/tsc --project tests/js/tsconfig.json
	@$(BIN)/node node_modules/prettier/bin/prettier.cjs --check --log-level warn "assets/**/*.js" "types/*.ts" $(filter-out assets,$(SCRIPTS))

# So many tests at a time, one thread each (tests/conftest.py); the slowest twenty are named at the end.
TESTS := 2
test: $(VENV)/.installed-dev models browser nginx
	@$(BIN)/node --test --test-reporter=dot tests/js/*.test.js
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(TESTS) --dist loadscope --no-loadscope-reorder --durations=20

# make test-repeat N=10: ten runs in a row, and a table of them.
N := 10
test-repeat: $(VENV)/.installed-dev models browser nginx
	@sh tests/repeat.sh $(N)

notebook: setup $(VENV)/.installed-notebook
	@exec $(BIN)/python -m jupyterlab notebooks/tour.ipynb

browser:
	@sh tests/browser/need-chromium.sh

nginx: $(BIN)/python
	@sh tests/integration/need-nginx.sh

clean:
	rm -rf $(VENV) node_modules .pytest_cache .mypy_cache .ruff_cache
