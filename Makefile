# Two commands matter: `make run` and `make test`. Needs Python 3.11 or later (with venv) and make.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
VENV := .venv
BIN := $(VENV)/bin
# Hashes are checked; wheels alone, so that nothing is compiled and no foreign code runs.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input \
	--require-hashes --only-binary :all:
# What `make test-faults` does side by side.
FAULTS := crowds-and-kills-on-sqlite crowds-and-kills-on-postgresql long-outages redis-outages \
	lost-processes what-else-is-slow

.DEFAULT_GOAL := help
.PHONY: run test test-faults $(FAULTS) lint bench screenshots help

run: $(VENV)/installed ## install, migrate, seed and start everything; Ctrl-C stops it
	@$(BIN)/python manage.py up

test: $(VENV)/installed-for-tests ## the whole suite, on SQLite and on PostgreSQL (ARGS="-k name")
	$(BIN)/python -m pytest --database sqlite $(ARGS)
	$(BIN)/python -m pytest --database postgresql $(ARGS)

test-faults: $(VENV)/installed-for-tests ## crowds, kills and outages at full size (ten minutes)
	@echo "These parts run side by side; each is shown when it has ended: $(FAULTS)"
	@$(MAKE) --no-print-directory --jobs --keep-going $(SHOWN_WHOLE) $(FAULTS)

# Where make can do it (from 4.0 on).
SHOWN_WHOLE := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
# With ARGS a part may have nothing to do, which is pytest's exit code 5.
PYTEST_FAULTS = @$(BIN)/python -m pytest -s $(ARGS) -m $(1) $(if $(ARGS),|| test $$? = 5)
# Whatever has such a test, so that not all others are read first.
SLOW = $(shell grep -rl --include='test_*.py' 'mark\.faults' tests)
LONG_OUTAGES := $(addprefix tests/outages/test_,postgresql_outage.py celery_outage.py full_disk.py)
REDIS_OUTAGES := tests/outages/test_redis_outage.py
LOST_PROCESSES := tests/faults/test_gone_hosts.py tests/outages/test_frozen_transaction.py \
	tests/project/test_supervision.py

$(filter crowds-%,$(FAULTS)): crowds-and-kills-on-%:
	$(call PYTEST_FAULTS,"faults and not once" --database $* tests/faults)
long-outages:
	$(call PYTEST_FAULTS,"faults and once" $(LONG_OUTAGES))
redis-outages:
	$(call PYTEST_FAULTS,"faults and once" $(REDIS_OUTAGES))
lost-processes:
	$(call PYTEST_FAULTS,"faults and once" $(LOST_PROCESSES))
what-else-is-slow:
	$(call PYTEST_FAULTS,"faults and once" \
		$(filter-out $(LONG_OUTAGES) $(REDIS_OUTAGES) $(LOST_PROCESSES),$(SLOW)))

lint: $(VENV)/installed-for-tests ## ruff, mypy, import directions, missing migrations
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python manage.py makemigrations --check --dry-run

screenshots: $(VENV)/installed-for-tests ## the README's pictures, taken anew
	$(BIN)/python -m docs.make_screenshots

bench: $(VENV)/installed-for-tests ## what a request costs (ARGS=--json)
	@$(BIN)/python -m benchmarks $(ARGS)

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

$(VENV)/installed: requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed." >&2; exit 1; }
	@echo "Installing into $(VENV) (this is needed once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --requirement requirements.txt
	@touch $@

$(VENV)/installed-for-tests: $(VENV)/installed tests/requirements.txt
	@echo "Installing what the tests need ..."
	@$(INSTALL) --requirement tests/requirements.txt
	@touch $@
