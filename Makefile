# One command for each job, the same here and in CI.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH_VENV := .venv-bench
BENCH_INSTALLED := $(BENCH_VENV)/.installed
HOST ?= 127.0.0.1
PORT ?= 8000

# Each process would compile all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install run test test-long collect lint format bench bench-quick bench-parts bench-growth lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED) ## Make the virtual environment with everything that is pinned

$(INSTALLED): requirements.txt requirements-test.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt -r requirements-test.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

run: install ## Start a demo catalogue at http://127.0.0.1:8000
	$(BIN)/circdesk serve --demo --host $(HOST) --port $(PORT)

# Many tests wait for deadlines and servers, so that a third worker has something to do on two cores.
test: install ## Run the tests on both databases, with coverage
	rm -rf build/coverage
	PYTEST_PLUGINS=tests.covering $(BIN)/python -m pytest --numprocesses 3 --dist worksteal
	$(BIN)/python -m slipcover --merge build/coverage/*.json --out build/coverage.json

test-long: install ## Run the tests in their full length
	TEST_LONG=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

collect: install ## Compile the tests, so that workers need not each do it
	$(BIN)/python -m pytest --collect-only --quiet > /dev/null

lint: install ## Check format, style, types and the contract
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/circdesk spec check
	$(BIN)/circdesk spec lint

format: install ## Bring the code into its form
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(BENCH_INSTALLED) ## Measure the service beside other frameworks, in about thirteen minutes
	$(BENCH_VENV)/bin/python tests/benchmark/frameworks.py --into docs/benchmark

bench-quick: $(BENCH_INSTALLED) ## The same in about two minutes
	$(BENCH_VENV)/bin/python tests/benchmark/frameworks.py --rounds 1

bench-parts: install ## Measure import, search, access tokens and the desk
	$(BIN)/python tests/benchmark/importing.py
	$(BIN)/python tests/benchmark/search.py
	$(BIN)/python tests/benchmark/tokens.py
	$(BIN)/python tests/benchmark/desk.py

bench-growth: install ## Measure how each operation grows, up to a million books
	$(BIN)/python tests/benchmark/growth.py --into docs/benchmark

# The other frameworks have an environment of their own, so that neither service nor tests meet them.
$(BENCH_INSTALLED): requirements.txt requirements-test.txt requirements-bench.txt pyproject.toml
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt -r requirements-test.txt -r requirements-bench.txt
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

lock: ## Pin the dependencies anew for every supported Python
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet uv
	build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --output-file requirements.txt
	build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --group test --constraints requirements.txt --output-file requirements-test.txt
	build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --group bench --constraints requirements.txt --constraints requirements-test.txt --output-file requirements-bench.txt

clean: ## Remove the environment, the instance and what was built
	rm -rf $(VENV) $(BENCH_VENV) instance build dist
