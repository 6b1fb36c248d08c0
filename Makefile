# make demo   sets everything up and tunes a real llama.cpp server on this machine
# make test   installs what the tests need and runs them all
# make test-docker   what needs a Docker engine; .ci/with-docker make test-docker starts one
# make test-postgresql   what reads and writes the database, on another; .ci/with-postgresql
#     make test-postgresql starts one
# make test-cluster   what needs Kubernetes' servers; .ci/with-kubernetes make test-cluster brings them
# make screenshots   pictures of every page, into screenshots/
# make lint   format, lint, types, layering
# make lock   writes the lock files anew from requirements*.txt

# The first of these that is Python 3.11 or 3.12 (genai-bench needs < 3.13).
PYTHON ?= $(shell for candidate in python3 python3.12 python3.11 python; do \
	$$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null \
	&& echo $$candidate && break; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-docker test-postgresql test-cluster browser screenshots lint format lock install install-dev clean

demo: install
	$(BIN)/python manage.py sample_model
	$(BIN)/python manage.py run_task examples/local_task.json

test: install-dev browser
	$(BIN)/python manage.py sample_model
	$(BIN)/python -m pytest -n 2 -m "not slow"
	$(BIN)/python -m pytest -n 3 --dist loadfile -m "slow and not alone"
	$(BIN)/python -m pytest -m alone

# Fails where no Docker engine answers; "make test" skips these tests then. Wants the sample model,
# which "make test" fetches.
test-docker: export AUTOTUNER_TESTS_MUST_RUN_DOCKER = 1
test-docker: install-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/controllers/test_docker*.py \
		tests/docker/test_chaos.py tests/docker/test_monitoring.py
	# What measures has the machine for itself.
	$(BIN)/python -m pytest tests/docker/test_run_task.py

# On the server that DATABASE_URL names, where the tests make databases of their own. Chaos comes last
# and alone, as in "make test"; it wants the sample model.
test-postgresql: install-dev
	@test -n "$$DATABASE_URL" || { echo "DATABASE_URL names no server; .ci/with-postgresql starts one."; exit 1; }
	$(BIN)/python -m pytest -n 2 -m "not slow" tests/orchestrator tests/api tests/web tests/admin \
		tests/realtime tests/exports tests/test_*.py
	$(BIN)/python -m pytest -m alone tests/chaos/test_broker.py tests/chaos/test_cancel.py

# Fails where Kubernetes' servers are not there; "make test" skips these tests then. Wants the sample
# model, whose tokenizer genai-bench uses. One cluster serves all tests, so they run one by one.
test-cluster: export AUTOTUNER_TESTS_MUST_RUN_CLUSTER = 1
test-cluster: install-dev
	$(BIN)/python -m pytest tests/cluster

# The browser tests drive Debian's chromium; without one they are skipped.
browser:
	@command -v chromium >/dev/null || { test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || \
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; }; }

screenshots: install-dev browser
	$(BIN)/python -m tests.browser.screenshots

lint: install-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(VENV)/installed
install-dev: $(VENV)/installed-dev

$(VENV)/python-found:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/python-found requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@

$(VENV)/installed-dev: $(VENV)/python-found requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@ $(VENV)/installed

# One lock for Python 3.11 and 3.12: uv resolves for both at once and writes environment markers.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
lock: install-dev
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/$(LOCK) requirements.txt -o requirements.lock
	$(BIN)/$(LOCK) requirements-dev.txt -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
