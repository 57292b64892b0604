# Two commands do it all: `make run` (try it) and `make test` (everything that CI runs).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SYSTEM_PACKAGES := portaudio19-dev pulseaudio pulseaudio-utils libasound2-plugins ffmpeg espeak-ng chromium

.PHONY: run setup test lint clean

run: $(VENV)/.installed  ## Install for users into .venv, then serve the built-in demo song.
	$(BIN)/stream-mer serve --source demo

setup: $(VENV)/.developer  ## Install everything that developers, tests and benchmarks need into .venv.

# What only computes shares the processors; what owns sound servers, browsers and real time runs one by one after it.
OFFLINE := tests/integration/offline

test: setup lint  ## Everything that .ci/run runs.
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder \
		$(OFFLINE) tests/unit; offline=$$?; \
	$(BIN)/python -m pytest tests/integration --ignore=$(OFFLINE) && exit $$offline

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## Remove the virtual environment and all caches.
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

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
