# One line of the real command each; every target makes what it needs. Without make: see CONTRIBUTING.md.
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3 python; do \
  command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
  && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: setup demo check test test-slow audit docs notebooks web-assets bench clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then echo "fieldguide needs Python 3.11, 3.12 or 3.13 (Keras 3.15 and Pillow 13 do); found $$(python3 --version 2>&1). Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; fi
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[heic,litert,onnx,serve,dev,docs]'
	@touch $@

demo: setup
	$(BIN)/fieldguide demo

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos
	$(BIN)/python notebooks/build.py --check

test: setup  # pytest-xdist, in a process more than there are cores
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test-slow: setup
	$(BIN)/python -m pytest -m slow

docs: setup
	$(BIN)/python -m sphinx -q -W --keep-going docs build/docs
	$(BIN)/python docs/check_links.py build/docs

audit: setup  # known vulnerabilities of what constraints.txt pins; where the database cannot be asked, it says so
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[audit]'
	$(BIN)/python benchmarks/vulnerabilities.py

notebooks: setup  # writes them anew and runs them; `--text` instead keeps the outputs
	$(BIN)/python notebooks/build.py

web-assets:  # onnxruntime-web, which `export --format web` carries; needs npm. The files are checked by their SHA-256 when used
	mkdir -p build/web-assets src/fieldguide/page/assets
	cd build/web-assets && npm pack --silent onnxruntime-web@1.30.0 && tar -xzf onnxruntime-web-1.30.0.tgz
	cd build/web-assets/package/dist && cp ort.wasm.bundle.min.mjs ort-wasm-simd-threaded.wasm ../../../../src/fieldguide/page/assets/

bench: setup  # make bench DATA=path/to/cats_dogs
	for what in transfer classic predict scan; do $(BIN)/python benchmarks/main_job.py $$what $(DATA) || exit 1; done

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache demo runs
