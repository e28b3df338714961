# Everything starts with tools/bootstrap.py, which makes what is missing (quick when nothing is).
NEW_ENOUGH = import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(NEW_ENOUGH)' 2>/dev/null && { echo $$p; exit; }; done; echo python3)
BOOTSTRAP = $(PYTHON) tools/bootstrap.py
PORT ?= 8443
RESET ?=
USER_NAME = $(if $(filter command line,$(origin USER)),$(USER),analyst)
RESET_FLAG = $(if $(filter-out 0,$(RESET)),--reset,)
TESTS ?= tests
# Most tests wait for processes: four at a time fill two cores. A file stays whole, for what its tests share; the order
# is that of tests/conftest.py.
SIDE_BY_SIDE = -n 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo otp tour verify policy-check test test-python soak bench bound bench-covert lint check format pin clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: ## make all environments, the proxy and the extension
	@$(BOOTSTRAP) dev

demo: ## run the demo until Ctrl-C (RESET=1 starts over, PORT=8443)
	@$(BOOTSTRAP) runtime -- hub/bin/strongroom demo --port $(PORT) $(RESET_FLAG)

otp: ## one-time code of a demo account (USER=analyst)
	@$(BOOTSTRAP) runtime -- hub/bin/strongroom demo otp $(USER_NAME)

tour: ## walk through an analyst's day on a fresh instance, without a browser
	@$(BOOTSTRAP) runtime -- hub/bin/strongroom tour

verify: ## check the demo's audit log offline
	@$(BOOTSTRAP) runtime -- hub/bin/strongroom audit verify

policy-check: ## check the demo's policy files
	@$(BOOTSTRAP) runtime -- hub/bin/strongroom policy check

test: ## the whole test suite: Python, TypeScript, the walk through a whole instance (TESTS=path for a part)
	@$(BOOTSTRAP) dev -- dev/bin/python -m pytest $(SIDE_BY_SIDE) $(TESTS)
	@$(BOOTSTRAP) npm -- run test

test-python: ## all Python tests that need neither npm nor the built extension
	@PYTHON_ONLY=1 $(BOOTSTRAP) dev -- dev/bin/python -m pytest $(SIDE_BY_SIDE) -m "not e2e and not browser and not soak" $(TESTS)

soak: ## the long tests, and each protection switched off in a copy: do the tests notice? (TESTS=path for a part)
	@$(BOOTSTRAP) dev -- dev/bin/python -m pytest -m soak $(TESTS)
	@$(BOOTSTRAP) dev -- dev/bin/python benchmarks/audit.py --rounds 0 --entries 10000000
	@$(BOOTSTRAP) dev -- dev/bin/python tools/mutations.py

bench: ## ratios to a stock Jupyter server, then policy, reads of data, and the log (ONLY=start,trip for parts of the first)
	@$(BOOTSTRAP) dev -- dev/bin/python benchmarks/road.py $(if $(ONLY),--only $(ONLY))
	$(if $(ONLY),,@$(BOOTSTRAP) dev -- dev/bin/python benchmarks/policy.py)
	$(if $(ONLY),,@$(BOOTSTRAP) dev -- dev/bin/python benchmarks/data.py)
	$(if $(ONLY),,@$(BOOTSTRAP) dev -- dev/bin/python benchmarks/audit.py)

bench-covert: ## what gets from one kernel to another, in bits per second (as root, on a quiet machine; five minutes)
	@$(BOOTSTRAP) dev -- dev/bin/python benchmarks/covert.py

bound: ## what a kernel can still say at `secret`, in bits
	@$(BOOTSTRAP) dev -- dev/bin/python benchmarks/bound.py

lint: ## ruff and eslint
	@$(BOOTSTRAP) dev -- dev/bin/python -m ruff check .
	@$(BOOTSTRAP) dev -- dev/bin/python -m ruff format --check .
	@$(BOOTSTRAP) npm -- run lint

check: lint ## lint and types
	@$(BOOTSTRAP) dev -- dev/bin/python -m mypy
	@$(BOOTSTRAP) npm -- run check

format: ## rewrite Python sources in the one format
	@$(BOOTSTRAP) dev -- dev/bin/python -m ruff format .

pin: ## write the present versions to constraints/
	@$(BOOTSTRAP) dev
	@$(BOOTSTRAP) pin

clean: ## remove environments and build products (demo data stays)
	@$(BOOTSTRAP) clean
