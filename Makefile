# `make demo` and `make test` set up everything they need in .venv and run; a second call installs nothing.
# PYTHON=... chooses the interpreter; otherwise the first below that is 3.10 or newer and can make environments.

TORCH   := torch==2.13.0
BIN     := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP     := $(BIN)/python -m pip --disable-pip-version-check
APT     := apt-get install -y python3-venv python3-pip
# What Qt and VTK need to draw without a screen, and a file of each as the linker knows it.
SCREEN  := apt-get install -y libgl1 libegl1 libgl1-mesa-dri libxkbcommon0 libfontconfig1 libglib2.0-0 libdbus-1-3
DRAWS   := libGL.so.1 libEGL.so.1 libxkbcommon.so.0 libfontconfig.so.1 libglib-2.0.so.0 libdbus-1.so.3
# What shows the page of maps in the tests: any Chromium or Chrome; this one is Debian's smallest.
BROWSER := apt-get install -y chromium-headless-shell
BROWSES := chromium-headless-shell chrome-headless-shell chromium chromium-browser google-chrome
PYTHONS  = $(or $(PYTHON),python3.12 python3.11 python3.10 python3 python)

define find_python
for p in $(PYTHONS); do \
	if $$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then echo $$p; break; fi; \
done
endef

define can_draw
for library in $(DRAWS); do \
	$(BIN)/python -c "import ctypes; ctypes.CDLL('$$library')" 2>/dev/null && continue; \
	if [ "$$(uname)" != Linux ]; then break; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update && DEBIAN_FRONTEND=noninteractive $(SCREEN); break; \
	fi; \
	echo "The tests of the Slicer module draw off screen and need $$library. Install it with" >&2; \
	echo "    sudo $(SCREEN)" >&2; \
	exit 1; \
done
endef

define can_browse
for browser in $(BROWSES); do command -v $$browser >/dev/null && exit 0; done; \
if [ "$$(uname)" != Linux ]; then exit 0; fi; \
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	apt-get update && DEBIAN_FRONTEND=noninteractive $(BROWSER) && exit 0; \
fi; \
echo "The tests of the page of maps need a browser. Install Google Chrome, or on Debian" >&2; \
echo "    sudo $(BROWSER)" >&2; \
exit 1
endef

.PHONY: demo test test-long docs clean

demo: .venv/installed-demo
	$(BIN)/ir2qsm demo -o demo

test: export OMP_NUM_THREADS ?= 1
test: .venv/installed-test
	@$(can_draw)
	@$(can_browse)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile --cov --cov-report=term:skip-covered

test-long: export OMP_NUM_THREADS ?= 1
test-long: .venv/installed-test
	$(BIN)/pytest -m long

# The pages of docs/ and the library's reference, in docs/html; a warning is an error.
docs: .venv/installed-docs
	$(BIN)/sphinx-build -W --keep-going -q docs docs/html

# Leaves .venv and runs/ alone.
clean:
	rm -rf demo dist build docs/html docs/reference .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/installed-%: $(BIN)/python pyproject.toml
	$(PIP) --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	$(PIP) install $(TORCH)
	$(PIP) install -e '.[$*]'
	@touch $@

$(BIN)/python:
	@python=$$($(find_python)); \
	if [ -z "$$python$(PYTHON)" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update && DEBIAN_FRONTEND=noninteractive $(APT); \
		python=$$($(find_python)); \
	fi; \
	if [ -z "$$python" ]; then \
		echo "None of '$(PYTHONS)' is Python 3.10 or newer with venv and ensurepip. Install them with" >&2; \
		echo "    sudo $(APT)" >&2; \
		echo "or name another interpreter: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	echo "$$python -m venv .venv"; \
	"$$python" -m venv --clear .venv
