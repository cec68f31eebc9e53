# Every command of the project. `make demo` and `make test` work on a fresh machine.
PY := .venv/bin/python
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help env demo test test-slow benchmark-tasks calibration examples index tables lint format lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

env: $(STAMP) ## make .venv and install from the lock file

# made from nothing whenever the lock or the project's own metadata change
$(STAMP): requirements.lock pyproject.toml .ci/find-python .ci/install
	@.ci/install
	@touch $@

demo: env ## fit the built-in data, forecast a held-out model, write demo/
	.venv/bin/bayesfit demo --out demo

test: lint ## lint, then the fast tests
	$(PY) -m pytest -n 2 --dist loadgroup --durations=10

test-slow: env ## long statistical checks
	$(PY) -m pytest -n 2 --dist loadgroup --run-slow -m slow

index: env ## write the table of laws in models/README.md anew
	$(PY) -m tests.index

tables: env ## recompute the recovery table in tests/recovery (two hours)
	$(PY) -m tests.recovery

benchmark-tasks: env ## score forecasts of task accuracies on the published studies (BAYESFIT_DATA, ten minutes)
	$(PY) -m tests.benchmarks.tasks $(or $(BAYESFIT_DATA),../shared/data)

calibration: env ## score bands of hidden larger runs on public studies, ours and others' (BAYESFIT_DATA, hours)
	$(PY) -m tests.benchmarks.calibration $(or $(BAYESFIT_DATA),../shared/data)
	$(PY) -m tests.benchmarks.calibration $(or $(BAYESFIT_DATA),../shared/data) --kinds
	$(PY) -m tests.benchmarks.calibration $(or $(BAYESFIT_DATA),../shared/data) --corpora
	$(PY) -m tests.benchmarks.calibration $(or $(BAYESFIT_DATA),../shared/data) --accuracies
	$(PY) -m tests.benchmarks.calibration.simulated
	$(PY) -m tests.benchmarks.calibration.image_curves $(or $(BAYESFIT_DATA),../shared/data)

examples: env ## run the examples at full length, with their figures
	@set -e; for script in examples/[0-9]*.py; do echo "$$script"; $(PY) $$script; done

lint: env ## ruff and mypy
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: env ## put the code in shape
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lock: ## renew requirements.lock (needs uv)
	uv pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.12 \
		--quiet --upgrade pyproject.toml --group dev --output-file requirements.lock

clean: ## remove what the other targets made
	rm -rf .venv demo dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
