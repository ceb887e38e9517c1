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

# The 3-D viewer of `ir2qsm report`, from npm: its bundle in Resources/Viewer, which git ignores and builds include.
NIIVUE        := 0.69.0
NIIVUE_SHA512 := \
60c8d0bc9803d56d9bec3ba8c64c250b85716eb80878f449e6ac90cd72b18b6bf6301560dbce4ffc2210ca0e3aa030c60c871a3656ddf8c86d3bf79d31b5c990
NIIVUE_URL    ?= https://registry.npmjs.org/@niivue/niivue/-/niivue-$(NIIVUE).tgz
VIEWER        := Resources/Viewer/niivue.umd.js

# An archive and validators for the tests of `ir2qsm export`, which skip without them.
ARCHIVE := apt-get install -y --no-install-recommends orthanc dicom3tools

define can_archive
if command -v dciodvfy >/dev/null && { command -v Orthanc || test -x /usr/sbin/Orthanc; } >/dev/null; then exit 0; fi; \
if [ "$$(uname)" = Linux ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	apt-get update && DEBIAN_FRONTEND=noninteractive $(ARCHIVE) && exit 0; \
fi; \
echo "Tests that need an archive skip. On Debian: sudo $(ARCHIVE)" >&2
endef

.PHONY: demo test test-long viewer docs clean

demo: .venv/installed-demo
	$(BIN)/ir2qsm demo -o demo

test: export OMP_NUM_THREADS ?= 1
test: .venv/installed-test
	@$(can_draw)
	@$(can_browse)
	@$(can_archive)
	@$(MAKE) --no-print-directory viewer || true
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile --cov --cov-report=term:skip-covered

test-long: export OMP_NUM_THREADS ?= 1
test-long: .venv/installed-test
	@$(can_archive)
	$(BIN)/pytest -m long

viewer: $(VIEWER)

$(VIEWER):
	@mkdir -p $(@D)
	@curl -fsSL --retry 2 --max-time 120 -o $(@D)/niivue.tgz $(NIIVUE_URL) || { \
		echo "NiiVue $(NIIVUE) could not be fetched from $(NIIVUE_URL). Pages of maps work without it and show slices;" >&2; \
		echo "for the 3-D viewer run make viewer again with a network, or name a copy: NIIVUE_URL=file:///…/niivue.tgz" >&2; \
		rm -f $(@D)/niivue.tgz; exit 1; }
	@echo "$(strip $(NIIVUE_SHA512))  $(@D)/niivue.tgz" | $$(command -v sha512sum || echo shasum -a 512) -c --status || { \
		echo "$(NIIVUE_URL) is not the NiiVue $(NIIVUE) that is pinned here; nothing was kept." >&2; \
		rm -f $(@D)/niivue.tgz; exit 1; }
	@tar -xzOf $(@D)/niivue.tgz package/dist/niivue.umd.js > $(@D)/niivue.part && mv $(@D)/niivue.part $@
	@rm -f $(@D)/niivue.tgz

# The pages of docs/ and the library's reference, in docs/html; a warning is an error.
docs: .venv/installed-docs
	rm -rf docs/reference
	$(BIN)/sphinx-build -W --keep-going -q docs docs/html

# The strings of the Slicer module into its .ts files: new ones are to be translated there.
translations: .venv/installed-test
	$(BIN)/python -m Testing.Slicer.translations

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
