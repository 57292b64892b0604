# Two commands do it all: `make run` (try it) and `make test` (everything that CI runs).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SYSTEM_PACKAGES := portaudio19-dev pulseaudio pulseaudio-utils libasound2-plugins ffmpeg espeak-ng chromium

# What `make interop` starts; a test says which of them it wants.
INTEROP_PACKAGES := dbus icecast2 iproute2 jackd2 liblo-tools liquidsoap mixxx mosquitto mosquitto-clients nginx \
	obs-studio ola pipewire pipewire-pulse pulseaudio-utils puredata-core qlcplus wireplumber xdotool xvfb

LOWEST := .venv-lowest

.PHONY: run setup test interop interop-packages lint coverage test-lowest docs packages screenshots clean

run: $(VENV)/.installed  ## Install for users into .venv, then serve the built-in demo song.
	$(BIN)/stream-mer serve --source demo

setup: $(VENV)/.developer  ## Install everything that developers, tests and benchmarks need into .venv.

# What only computes shares the processors; what owns sound servers, browsers and real time runs one by one after it.
OFFLINE := tests/integration/offline

# COVERAGE=1 measures what this half covers.
PARALLEL := --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
COVER := $(if $(COVERAGE),--cov --cov-report=)

test: setup lint  ## Lint and all tests.
	$(BIN)/python -m pytest $(PARALLEL) $(COVER) $(OFFLINE) tests/unit; offline=$$?; \
	$(BIN)/python -m pytest tests/integration --ignore=$(OFFLINE) && exit $$offline

interop: setup  ## Real programs at the other end (OLA, QLC+, Icecast, Mixxx, OBS, ...): slow, once a day in CI is enough.
	$(BIN)/python -m pytest tests/interop

interop-packages:  ## Install the programs of `make interop`. Debian starts some of them as daemons: for a machine of CI.
	.ci/system-packages $(INTEROP_PACKAGES)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: setup  ## Lines and branches that the tests cover which only compute; `make test COVERAGE=1` measures, too.
	@test -n "$(COVERAGE)" || $(BIN)/python -m pytest $(PARALLEL) --cov --cov-report= $(OFFLINE) tests/unit
	@$(BIN)/coverage report
	@$(BIN)/coverage json --quiet
	@$(BIN)/python -c 'import json; t = json.load(open("build/coverage/coverage.json"))["totals"]; \
		shares = t["covered_lines"] / t["num_statements"], t["covered_branches"] / t["num_branches"]; \
		print("lines {:.1%}, branches {:.1%}".format(*shares))'

test-lowest: $(LOWEST)/.installed  ## The unit tests with the lowest versions that pyproject.toml allows.
	$(LOWEST)/bin/python -m pytest $(PARALLEL) tests/unit

docs: setup  ## The documentation as a site, in build/site; `stream-mer serve` offers it at /docs.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

screenshots: setup  ## Take the pictures of the page in docs/images anew; wants Chromium.
	$(BIN)/python -m tools.screenshots

packages: setup  ## The clients for pip and npm, in dist: stream-mer-client without models, and mer.js with types.
	$(BIN)/python -m tools.packages dist

clean:  ## Remove the virtual environments, all caches, and what was built.
	rm -rf $(VENV) $(LOWEST) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "stream_mer needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

# PyAudio is built from source and wants PortAudio's headers: without them everything else is installed, and the tests
# of the microphone say why they skip.
$(VENV)/.developer: $(VENV)/bin/python pyproject.toml .ci/system-packages
	.ci/system-packages $(SYSTEM_PACKAGES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[mic]' \
		|| echo 'PyAudio could not be built (PortAudio headers missing?): going on without the microphone.'
	touch $@ $(VENV)/.installed

$(LOWEST)/.installed: pyproject.toml $(VENV)/.developer
	$(PYTHON) -m venv --clear $(LOWEST)
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --python $(LOWEST)/bin/python --extra dev \
		--output-file $(LOWEST)/lowest.txt pyproject.toml
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(LOWEST)/lowest.txt --editable '.[dev]'
	touch $@
