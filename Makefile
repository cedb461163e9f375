# Two commands to know: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PINS := setup.cfg pyproject.toml constraints.txt
# A Spark start in a test is over before optimised code pays.
TEST_JAVA := JAVA_TOOL_OPTIONS="-XX:TieredStopAtLevel=1"
# Without kept bytecode every start of the command compiles all of it anew.
unexport PYTHONDONTWRITEBYTECODE
QUICK := not spark and not airflow and not slow

.PHONY: help demo test check pages bench bench-build bench-ingest bench-day bench-skew bench-facts cluster notebooks portal pictures setup setup-dev setup-spark setup-airflow format clean

help: ## list what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16
	@echo "PYTHON=/path/to/python3.12 chooses another Python; ARGS='...' is handed on by demo, portal, test, bench... and cluster"

demo: $(VENV)/.base ## a shop from raw logs to audience files, in its own folder (no Java)
	@$(BIN)/huaxiang demo $(ARGS)

test: ## every test: Spark, Airflow and Great Expectations included
	@.ci/programs.sh & $(MAKE) --no-print-directory $(VENV)/.all; all=$$?; wait; exit $$all
	@$(MAKE) --no-print-directory setup-spark || [ "$$CI" != true ]
	@$(TEST_JAVA) $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.dev ## format, lint, types and the quick tests; about three minutes on two cores
	@$(BIN)/ruff format --check --quiet --output-format concise . || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --config-file setup.cfg
	@HYPOTHESIS_PROFILE=quick $(BIN)/python -m pytest --quiet -n 2 --dist loadfile -m "$(QUICK)" $(ARGS)

pages: $(VENV)/.base ## write anew what is made from contracts, tags and steps: pages of docs/, lists for the DAGs
	@$(BIN)/python -m cli.pages
	@$(BIN)/python -m benchmarks.page

bench: $(VENV)/.dev ## quick benchmarks, minutes: facts, and a first build of 2,000 users, against DuckDB (docs/benchmarks.md)
	@$(BIN)/python -m benchmarks.profile --small
	@$(BIN)/python -m benchmarks.first_build --users 2000 $(ARGS)

bench-build: $(VENV)/.dev ## a first build of 20,000 users against a DuckDB script written by hand
	@$(BIN)/python -m benchmarks.first_build $(ARGS)

bench-ingest: $(VENV)/.dev ## ingest alone against the same script
	@$(BIN)/python -m benchmarks.ingest $(ARGS)

bench-day: $(VENV)/.dev ## one more day against the first build
	@$(BIN)/python -m benchmarks.day $(ARGS)

bench-skew: $(VENV)/.dev ## one user, one day, one cascade with most of it, against even data
	@$(BIN)/python -m benchmarks.skew $(ARGS)

bench-facts: $(VENV)/.dev ## facts of 1 M users against DuckDB and Polars, Spark too
	@$(MAKE) --no-print-directory setup-spark || true
	@$(BIN)/python -m benchmarks.profile $(ARGS)

cluster: ## a Spark cluster of a master and two workers on this machine, until Ctrl-C
	@$(MAKE) --no-print-directory setup-spark
	@$(BIN)/python -m lake.spark_cluster $(ARGS)

notebooks: $(VENV)/.notebooks ## the notebooks in JupyterLab, on the folder that HUAXIANG_PROJECT names (default: demo)
	@$(BIN)/jupytext --quiet --update --to ipynb notebooks/*.py
	@$(BIN)/jupyter lab --notebook-dir=notebooks $(ARGS)

portal: $(VENV)/.portal ## the portal of the demo shop in a browser: makes the shop if need be, prints address and first password
	@ls demo/exports/* >/dev/null 2>&1 || $(BIN)/huaxiang demo
	@$(BIN)/huaxiang portal --project demo $(ARGS)

pictures: $(VENV)/.dev ## pictures of the portal's pages in docs/pictures, of the demo shop
	@$(BIN)/python -m tests.portal.pictures demo

setup: $(VENV)/.base ## the command huaxiang in .venv, nothing else

setup-dev: $(VENV)/.dev ## what make check needs

setup-spark: $(VENV)/.spark ## Java, jars for Delta and S3 (checksums in lake/*_jars.txt) and shared classes
	@.ci/java.sh
	@$(BIN)/python -m lake.spark_jars
	@$(BIN)/python -m lake.spark_session

setup-airflow: $(VENV)/.airflow ## Airflow beside the rest

format: $(VENV)/.dev ## format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## remove everything that make made in this folder
	rm -rf $(VENV) demo *.egg-info build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.base: $(PINS)
	@echo "setting up $(VENV) (once)"
	@.ci/environment.sh $(PYTHON)
	@$(PIP) --editable .
	@touch $@

# All at once, and without compiling what no test imports: half the time of one call of pip for each.
$(VENV)/.all: $(PINS)
	@echo "setting up $(VENV) with everything that the tests need (once, a minute or two)"
	@.ci/environment.sh $(PYTHON)
	@$(PIP) --no-compile --editable '.[dev,completejourney,portal,spark,airflow,notebooks]'
	@$(BIN)/python -m portal.assets >/dev/null
	@touch $(addprefix $(VENV)/.,base dev portal spark airflow notebooks) $@

$(VENV)/.dev: $(VENV)/.base
	@echo "setting up the tools and what the quick tests need (once)"
	@$(PIP) --editable '.[dev,completejourney,portal]'
	@$(BIN)/python -m portal.assets >/dev/null
	@touch $(VENV)/.portal $@

$(VENV)/.portal: $(VENV)/.base
	@echo "setting up the portal (once)"
	@$(PIP) --editable '.[portal]'
	@$(BIN)/python -m portal.assets >/dev/null
	@touch $@

$(VENV)/.spark: $(VENV)/.dev
	@echo "setting up Spark (once)"
	@$(PIP) --editable '.[spark]'
	@touch $@

$(VENV)/.notebooks: $(VENV)/.dev
	@echo "setting up JupyterLab (once)"
	@$(PIP) --editable '.[notebooks]'
	@touch $@

$(VENV)/.airflow: $(VENV)/.spark
	@echo "setting up Airflow (once)"
	@$(PIP) --editable '.[airflow]'
	@touch $@
