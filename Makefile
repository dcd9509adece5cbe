# `make help` lists what there is. Settings are given as `make run PORT=9000 DEMO=0`, or exported.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
# A platform is a dozen processes that load the same modules, and tests start hundreds: each is compiled once.
unexport PYTHONDONTWRITEBYTECODE

# A Python 3.11 or newer, for making .venv; after that, only .venv is used.
PYTHON ?= python3
UV_VERSION := 0.13.9
TORCH_VERSION := 2.13.0
# Two of them mostly wait for processes that they started, see GROUPS in tests/conftest.py.
JOBS ?= 4

VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev
SDK_STAMP := $(VENV)/.installed-sdk
# What is installed for tests satisfies `make run`, too.
RUNTIME := $(if $(wildcard $(DEV_STAMP)),$(DEV_STAMP),$(RUN_STAMP))

# The front end: sources, and the stamp that stands for what was built from them.
WEB_SOURCES := $(wildcard package.json package-lock.json) $(shell find assets -type f 2>/dev/null)
WEB_STAMP := $(if $(wildcard package.json),node_modules/.built)
# A server that speaks Azure's protocol, for the tests of storage.
AZURITE := tests/azurite/node_modules/.installed
# npm waits without end when it cannot reach its registry.
LIMIT := $(shell timeout --foreground 5 true >/dev/null 2>&1 && echo timeout --foreground 600)
NPM := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(LIMIT) $(VENV)/bin/npm

# For checks that import Django's settings and reach no server.
NO_SERVERS := SECRET_KEY=only-for-lint-xxxxxxxxxxxxxxxxxxxxxxxx DATABASE_URL=postgresql://lint@127.0.0.1:1/lint \
	REDIS_URL=redis://127.0.0.1:1/0 VAR_DIR=var DJANGO_SETTINGS_MODULE=config.settings

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(RUNTIME) $(SDK_STAMP) $(WEB_STAMP) ## Set up what is missing and run the whole platform; Ctrl-C ends it
	@exec $(PY) -m launcher

# Browser tests are skipped where none can be had.
.PHONY: browser
browser: $(DEV_STAMP) ## Provide Chromium for the browser tests, if none is there
	@if [ -n "$$CHROMIUM" ] || command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
		command -v google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then echo "Installing Chromium…"; \
		(apt-get update -qq && $(LIMIT) apt-get install -y -qq chromium) >/dev/null 2>&1 || true; \
	else echo "Installing Chromium…"; $(LIMIT) $(VENV)/bin/playwright install chromium >/dev/null 2>&1 || true; fi

.PHONY: test
test: $(DEV_STAMP) $(SDK_STAMP) $(WEB_STAMP) $(AZURITE) browser ## Run all tests, on servers that they start themselves
	@exec $(PY) -m pytest -n $(JOBS) --dist loadgroup

.PHONY: test-fast
test-fast: $(DEV_STAMP) $(SDK_STAMP) $(WEB_STAMP) ## Run the tests that take less than five seconds each
	@exec $(PY) -m pytest -n $(JOBS) -m "not slow"

.PHONY: lint
lint: $(DEV_STAMP) $(SDK_STAMP) ## Check style, types, imports between rooms, migrations and templates
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(NO_SERVERS) $(PY) -m mypy .
	$(NO_SERVERS) $(VENV)/bin/lint-imports
	$(NO_SERVERS) $(PY) -W ignore manage.py makemigrations --check --dry-run
	@templates="$$(git ls-files '*.html')"; [ -z "$$templates" ] || \
		$(VENV)/bin/djade --check --target-version 5.2 $$templates

.PHONY: format
format: $(DEV_STAMP) ## Format Python files and templates
	$(PY) -m ruff check --fix-only
	$(PY) -m ruff format
	@templates="$$(git ls-files '*.html')"; [ -z "$$templates" ] || \
		$(VENV)/bin/djade --target-version 5.2 $$templates || true

.PHONY: openapi
openapi: $(DEV_STAMP) ## Write the API's description that a test compares with
	@$(NO_SERVERS) $(PY) -W ignore manage.py write_openapi tests/structure/openapi.yaml

.PHONY: soak
soak: $(DEV_STAMP) $(SDK_STAMP) $(WEB_STAMP) ## Run the long campaigns of races, faults, bad networks and bad input
	@SOAK_RACE_ROUNDS=20 SOAK_FAULT_ROUNDS=20 SOAK_NETWORK=1000 SOAK_INPUT=1 SOAK_SCHEDULES=1000 \
		SOAK_APPROVALS=200 SOAK_REQUESTS=200 SOAK_BROKER_SECONDS=60 SOAK_CLUSTER=1 SOAK_PAGES=1 exec $(PY) -m pytest -v \
		tests/e2e/test_races.py tests/e2e/test_faults.py tests/e2e/test_schedule_faults.py tests/e2e/test_telling.py tests/e2e/test_bad_network.py \
		tests/e2e/test_every_page.py tests/structure/test_bad_input.py tests/structure/test_schemathesis.py \
		tests/scheduling/test_simulation.py tests/approvals/test_races.py tests/serving/test_faults.py \
		tests/deployments/test_gateway.py tests/deployments/test_faults.py tests/deployments/engines tests/cluster

.PHONY: screenshots
screenshots: $(DEV_STAMP) $(SDK_STAMP) $(WEB_STAMP) browser ## Take docs/screenshots/ of the portal with demo data
	@exec $(PY) -m tests.screenshots $(PAGES)

BENCH_PY := .venv-bench/bin/python

.PHONY: bench
bench: $(DEV_STAMP) $(SDK_STAMP) $(WEB_STAMP) $(BENCH_PY) ## Measure this platform beside MLflow and write bench/results/
	@exec $(PY) -m bench --mlflow $(CURDIR)/$(BENCH_PY) $(BENCH)

$(BENCH_PY): requirements/bench.txt | $(UV)
	@echo "Installing MLflow for the comparison…"
	@$(PY) -m venv .venv-bench && $(UV) pip install --quiet --python $@ -r requirements/bench.txt && touch $@

.PHONY: lock
lock: $(UV) ## Resolve requirements into the two locks with hashes
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links requirements/dev.txt -o requirements/dev.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links -c requirements/dev.lock \
		requirements/embedded.txt -o requirements/embedded.lock

.PHONY: torch
torch: $(RUNTIME) ## Install torch, for models saved by it
	$(PY) -m pip install --quiet torch==$(TORCH_VERSION)

.PHONY: clean
clean: ## Remove what make made; VAR_DIR with its data stays
	rm -rf $(VENV) .venv-bench node_modules static build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed: install it, or name one, as in make run PYTHON=/usr/bin/python3.12" >&2; \
		exit 1; }
	@echo "Making $(VENV)…"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment: install its venv package (Debian: apt install python3-venv)." >&2; \
		exit 1; }

$(UV): | $(PY)
	@$(PY) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# uv installs all of it in 8 s where pip takes 33.
$(RUN_STAMP): requirements/embedded.lock | $(UV)
	@echo "Installing packages…"
	@$(UV) pip install --quiet --python $(PY) --require-hashes -r requirements/embedded.lock
	@touch $@

$(DEV_STAMP): requirements/dev.lock | $(UV)
	@echo "Installing packages, those for tests too…"
	@$(UV) pip install --quiet --python $(PY) --require-hashes -r requirements/dev.lock
	@touch $@

$(SDK_STAMP): pyproject.toml | $(UV)
	@$(UV) pip install --quiet --python $(PY) --no-deps -e .
	@touch $@

node_modules/.installed: package-lock.json | $(RUNTIME)
	@echo "Installing front-end packages…"
	@$(NPM) ci --no-audit --no-fund --loglevel=error
	@touch $@

$(AZURITE): tests/azurite/package-lock.json | $(RUNTIME)
	@echo "Installing a storage server for the tests…"
	@$(NPM) ci --prefix tests/azurite --no-audit --no-fund --loglevel=error
	@touch $@

node_modules/.built: node_modules/.installed $(WEB_SOURCES)
	@echo "Building the front end…"
	@$(NPM) run --silent build
	@touch $@
