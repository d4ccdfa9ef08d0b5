# Everything a contributor or an operator runs. `make PYTHON=/usr/bin/python3.12 …` picks the interpreter.
PYTHON ?= python3
UV     ?= uv
BIN    := .venv/bin
MADE   := .venv/.made
LINKED := .venv/.linked

.PHONY: install serve test test-tools soak bench bench-tools lock FORCE

install: $(LINKED)

serve: $(LINKED)
	$(BIN)/gateway serve

test: $(LINKED) test-tools
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports
	$(BIN)/python -m pytest

# A user's PATH may lead past /usr/sbin, where Debian has nginx and haproxy.
TOOLS = @PATH="$$PATH:/usr/sbin:/usr/local/sbin"; missing=$$(for tool in $(1); do command -v $$tool >/dev/null || echo $$tool; done); \
	[ -z "$$missing" ] || { apt-get update -qq && apt-get install -y --no-install-recommends $$missing; } || { echo "make $(2) needs" $$missing "and could not install that (on Debian, as root: apt-get install" $$missing")" >&2; exit 1; }

test-tools:
	$(call TOOLS,curl haproxy nginx redis-server,test)

soak: $(LINKED)
	$(BIN)/python -m tests.soak

bench: $(LINKED) bench-tools
	$(BIN)/python -m bench

bench-tools:
	$(call TOOLS,nginx wrk redis-server,bench)

lock:
	$(UV) pip compile pyproject.toml --extra dev --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-config --no-annotate --no-emit-index-url --no-emit-find-links --exclude-newer "1 week" --custom-compile-command "make lock" -o requirements.lock $(LOCK_FLAGS)

# Two stamps: the lock makes the environment anew, pyproject.toml only links the project into it.
$(MADE): requirements.lock
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("gateway needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=/path/to/python3")'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) cannot make a virtual environment (on Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv && $(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock && echo '$(CURDIR)' > $@

$(LINKED): $(MADE) pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable . && touch $@

# A .venv moved from another folder, or whose interpreter is gone, is made anew.
ifneq ($(shell $(BIN)/python -c '' 2>/dev/null && cat $(MADE) 2>/dev/null),$(CURDIR))
$(MADE): FORCE
endif
