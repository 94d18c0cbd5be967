# Every target is one line, so that `python3 -m devcluster ...` and the tools of .venv do the same without make.
PYTHON ?= python3
DEVCLUSTER = $(PYTHON) -m devcluster
LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"
ARGS ?=
# Many tests wait for a cluster half of the time, so four workers suit two cores. Each has clusters of its own. Hundreds of
# Python processes are started, so bytecode is written even where the environment says no.
WORKERS ?= --numprocesses=4 --dist=loadfile --no-loadscope-reorder
SELECT ?= -m "not nightly"

.DEFAULT_GOAL := help
.PHONY: help up down status traffic shell tools test test-nightly tests test-tools test-unit bench lint format lock

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

up: ## cluster, Istio, Bookinfo and the split, measured
	$(DEVCLUSTER) up $(ARGS)

down: ## end the cluster and forget its stack
	$(DEVCLUSTER) down $(ARGS)

status: ## what runs
	$(DEVCLUSTER) status $(ARGS)

traffic: ## count requests through a sidecar, against the declared split
	$(DEVCLUSTER) traffic $(ARGS)

shell: ## a shell with the cluster, the tools and the stack at hand
	$(DEVCLUSTER) shell $(ARGS)

tools: ## build every tool of the embedded cluster into the cache
	$(DEVCLUSTER) tools $(ARGS)

test: test-tools lint tests ## lint, and all four levels of tests

test-nightly: ## the same with many more examples, and with what takes long
	HYPOTHESIS_PROFILE=nightly $(MAKE) test ARGS='$(ARGS)' SELECT=

tests: .venv ## all four levels of tests, without lint
	PYTHONDONTWRITEBYTECODE= HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-ci} .venv/bin/pytest $(WORKERS) $(SELECT) --durations=25 $(ARGS)

test-tools: .venv ## build every tool that some test needs into the cache, fetch the modules that tests read
	$(DEVCLUSTER) tools && $(DEVCLUSTER) tools istioctl promtool zipkin && .venv/bin/python -m tests.modules

test-unit: .venv ## the tests that need no tools: seconds
	.venv/bin/pytest -q tests/unit tests/components $(ARGS)

bench: .venv ## measure `up` and `preview`, as ratios
	.venv/bin/python -m devcluster.bench $(ARGS)

lint: .venv ## format, lint, layers and types
	.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/lint-imports --no-cache --no-logo && .venv/bin/pyright

format: .venv ## put the code into shape
	.venv/bin/ruff format . && .venv/bin/ruff check --fix .

lock: ## resolve the dependencies anew; needs uv
	$(LOCK) pyproject.toml requirements.in -o requirements.txt
	$(LOCK) pyproject.toml requirements-dev.in -o requirements-dev.txt
	cd tools/go && $(LOCK) requirements.in -o requirements.txt
	cd tools/zipkin && $(LOCK) requirements.in -o requirements.txt

.PHONY: .venv
.venv:
	@$(DEVCLUSTER) venv
