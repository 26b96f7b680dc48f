# Prosa: what a developer and the CI call. Everything happens in .venv; nothing else of the machine is touched, but for a
# copy of PostgreSQL's programs in /var/lib where root installs in a folder that PostgreSQL's user may not enter.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# The first Python that will do; `make install PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3 python; do \
	command -v $$name >/dev/null 2>&1 && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$name; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
SOURCES := bench chassis cli embedded gateway sandbox services tests tools
STAMP := $(VENV)/.installed
TEST_PROCESSES ?= 2
# "no" leaves the dashboard out, where no registry of npm can be reached.
DASHBOARD ?= yes
TEST_SECONDS ?= 3600
FAULTS ?= 200
SEED ?=

.PHONY: help install run check test pictures bench lint format generate chart image requirements cases mutants chaos siege clean

help: ## Show what there is.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with everything and the `prosa` command in it; does nothing the second time.
ifneq ($(DASHBOARD),no)
	@$(BIN)/python -m tools.dashboard
endif

$(STAMP): requirements-dev.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "Prosa needs Python 3.11 or newer, and none was found. Install one, or name it:" >&2; \
		echo "  make install PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is too old: Prosa needs Python 3.11 or newer." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV), once …"
	@"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python tools/install.py requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

run: install ## Start the whole suite with a demo organization and conversations that arrive.
	@$(BIN)/prosa up --demo

# What is compiled is kept whatever the caller's environment says: the assertions of all tests are rewritten by every test
# worker, and every `prosa` process of a test compiles all that it imports.
test: install ## Run every test, for an hour at most; Ctrl-C ends it.
ifneq ($(DASHBOARD),no)
	@$(BIN)/python -m tools.dashboard test
endif
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python tools/run_limited.py $(TEST_SECONDS) $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal

check: lint test ## All that must be green before a change goes in: form, types, layers, contracts and every test.

pictures: install ## Draw the pictures of README anew, by the tests in the browser.
	@PROSA_PICTURES=docs/pictures $(BIN)/python -m pytest -q -n 0 tests/e2e/test_dashboard.py

bench: install ## Measure every figure beside its own limit.
	$(BIN)/python -m bench

chaos: install ## The crash test at full size: make chaos FAULTS=200 SEED=7
	$(BIN)/python -m tests.chaos --faults $(FAULTS) $(if $(SEED),--seed $(SEED))

mutants: install ## Plant every known bug, one at a time, and see the tests catch it: make mutants ONLY=relay
	$(BIN)/python -m tests.mutants --jobs $(TEST_PROCESSES) $(if $(ONLY),--only '$(ONLY)')

siege: install ## A flood of strangers at full size: 20,000 within a minute, at most 5,000 at once.
	$(BIN)/python -m tests.siege

lint: install ## Check form, types, layers and contracts.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/buf breaking --against protos/released.binpb
	PATH="$(CURDIR)/$(BIN):$$PATH" tools/check_generated.sh
	$(BIN)/python tools/requirements.py --check
	$(BIN)/python tools/cases.py --check --strict
	$(BIN)/python -m tools.settings --check
	$(BIN)/python -m tools.contracts --check
	$(BIN)/python -m tools.slo --check
ifneq ($(DASHBOARD),no)
	$(BIN)/python -m tools.dashboard lint
endif

format: install ## Bring code and contracts into form.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format --write protos

generate: install ## Make gen/ and docs/contracts/reference from protos/, docs/settings.md from the settings, alerts from deploy/slo.yaml.
	PATH="$(CURDIR)/$(BIN):$$PATH" tools/generate.sh
	$(BIN)/python -m tools.settings
	$(BIN)/python -m tools.contracts
	$(BIN)/python -m tools.slo

chart: install ## Look at the chart and the Dockerfile: rendered, and held against the schemas of several Kubernetes.
	@$(BIN)/python tools/install.py requirements-deploy.lock
	@$(BIN)/python -m pytest -q -n 0 tests/deploy

image: install ## Build the image with buildah and try it there: make image IMAGE_FLAGS=--base-of-debian
	$(BIN)/python -m tools.image $(IMAGE_FLAGS)

requirements: install ## List every demand with the tests that show it: docs/requirements.md
	$(BIN)/python tools/requirements.py

cases: install ## List everything that use has found with the tests that hold it shut.
	$(BIN)/python tools/cases.py

clean: ## Remove .venv and caches; homes of `prosa up` stay.
	rm -rf $(VENV) dashboard/node_modules gateway/pages/dashboard .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
