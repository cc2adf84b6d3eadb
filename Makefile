# What each target is for: make help. All that is built lies in target/ (or CARGO_TARGET_DIR) and .venv/.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # one cargo at a time: two builds of the EC2 client need more memory than most machines have
.PHONY: help demo test test-all forget-permissions figures bench bench-rules release-command load picture picture-check check package deploy fmt fmt-check lint templates clippy doc unit tools e2e clean

PYTHON ?= python3
PYTEST_ARGS ?= -n 2

ROOT := $(CURDIR)
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
BOOTSTRAP := $(TARGET)$(if $(CARGO_BUILD_TARGET),/$(CARGO_BUILD_TARGET))/release/bootstrap
RELEASE_COMMAND := $(dir $(BOOTSTRAP))lockdown
DEBUG := $(TARGET)$(if $(CARGO_BUILD_TARGET),/$(CARGO_BUILD_TARGET))/debug
PACKAGE := target/lambda/entity-lockdown.zip
# The rules that the function acts by: a folder of *.toml, the shipped ones or your own.
RULES ?= rules
SOURCES := Cargo.toml Cargo.lock $(shell find src -name '*.rs')
TEMPLATES := $(wildcard cloudformation/*.yaml)
VENV := .venv/.made
VENV_PYTHON := .venv/bin/python
STAGE := .ci/stage

# Where the Python side finds what was built here.
export LOCKDOWN_BIN := $(DEBUG)/lockdown
export PROXY_BIN := $(DEBUG)/testbed-proxy
export ENDPOINT_BIN := $(DEBUG)/testbed-endpoint
export PACKAGE_ZIP := $(ROOT)/$(PACKAGE)

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

# --- What a newcomer runs ------------------------------------------------------------------------------------------------

demo: $(PACKAGE) tools $(VENV) ## Lock four victims down and release them again, on emulated AWS, as a story
	@$(VENV_PYTHON) -m tests.testbed.demo

test: unit $(PACKAGE) e2e ## All tests, those end to end on emulated AWS included

test-all: export MATRIX = all
test-all: export PERMISSIONS_SEEN = $(ROOT)/target/permissions-seen
test-all: forget-permissions unit package e2e ## The same with all of both matrices, of which `test` runs a sample (hours), and each right's user
	@$(STAGE) "rights of the two roles that nothing uses" $(VENV_PYTHON) -m tests.testbed.permissions_used $(PERMISSIONS_SEEN)

forget-permissions:
	@rm -rf $(ROOT)/target/permissions-seen

figures: $(PACKAGE) tools $(VENV) ## Measure the package: size, start, memory, round trips (JSON=1: as JSON)
	@$(VENV_PYTHON) -m tests.testbed.figures $(if $(JSON),--json)

picture: ## Draw README's picture again, from the plan that the code makes
	@RENEW_PICTURE=1 cargo test --features testing --locked --lib --quiet -- the_picture_in_the_readme_is_drawn_from_this_plan
	@$(PYTHON) docs/draw_instance.py

bench: $(PACKAGE) tools release-command $(VENV) ## Measure the package by itself, and how fast rules are tried (JSON=1; PEER_CMD)
	@RULES_COMMAND=$(RELEASE_COMMAND) $(VENV_PYTHON) -m tests.testbed.bench $(if $(JSON),--json)

load: $(PACKAGE) tools $(VENV) ## Contain 1,000 entities in a burst, 200 copies of a message, a throttled account (LOAD_ARGS, JSON=1)
	@$(VENV_PYTHON) -m tests.testbed.load $(if $(JSON),--json) $(LOAD_ARGS)

bench-rules: release-command $(VENV) ## Measure how fast rules are tried (BENCH_ARGS="--megabytes 1000", JSON=1: as JSON)
	@$(VENV_PYTHON) -m tests.testbed.bench_rules $(RELEASE_COMMAND) $(if $(JSON),--json) $(BENCH_ARGS)

release-command:
	@$(STAGE) "command (a cold build takes about 15 minutes)" cargo build --release --locked --bin lockdown

# --- The gate --------------------------------------------------------------------------------------------------------------

check: fmt-check picture-check templates clippy doc unit package e2e ## All that CI runs, the cheapest first

fmt: ## Format the code
	@cargo fmt

fmt-check:
	@$(STAGE) "format" cargo fmt --check

# That the plan is the code's own is a unit test's matter.
picture-check:
	@$(STAGE) "picture" $(PYTHON) docs/draw_instance.py --check

lint: templates clippy ## The linters alone: cfn-lint and clippy

templates: $(VENV)
	@$(STAGE) "templates (cfn-lint)" .venv/bin/cfn-lint $(TEMPLATES)

# One set of features for clippy, doc, test and tools: every other set compiles all SDK crates again.
clippy:
	@$(STAGE) "clippy" cargo clippy --all-targets --features testing --locked -- -D warnings

doc:
	@RUSTDOCFLAGS="-D warnings" $(STAGE) "documentation" cargo doc --no-deps --features testing --locked

unit:
	@$(STAGE) "unit tests" cargo test --features testing --locked

e2e: $(PACKAGE) tools $(VENV) ## The end-to-end tests alone (PYTEST_ARGS="-k word" picks some)
	@$(STAGE) "end-to-end tests" $(VENV_PYTHON) -m pytest tests/e2e $(PYTEST_ARGS)

# --- What is built -----------------------------------------------------------------------------------------------------------

package: $(PACKAGE) ## The function's package, target/lambda/entity-lockdown.zip
	@$(PYTHON) .ci/check_package.py $(PACKAGE)

$(PACKAGE): $(SOURCES) $(wildcard $(RULES)/*.toml) tests/testbed/zip.py
	@$(STAGE) "package (a cold build takes about 15 minutes)" cargo build --release --locked --bin bootstrap
	@$(BOOTSTRAP) check-rules $(RULES) > /dev/null
	@$(PYTHON) tests/testbed/zip.py $(BOOTSTRAP) $@ $(RULES)

# Cargo itself decides whether there is anything to do.
tools:
	@$(STAGE) "command, the test bed's proxy and endpoint" cargo build --features testing --locked --bin lockdown --bin testbed-proxy --bin testbed-endpoint

$(VENV): tests/testbed/requirements.txt
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "error: \`$(PYTHON)\` can't make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(STAGE) "Python environment" .ci/make_venv .venv $(PYTHON) $<
	@touch $@

# --- Real AWS ------------------------------------------------------------------------------------------------------------------

deploy: package ## Deploy the hub to real AWS: BUCKET=... AUDIT_EMAIL=... FAILURE_EMAIL=... (cloudformation/deploy --help)
	@CLOUD_TRAIL_SOURCES="$${CLOUD_TRAIL_SOURCES:-$$($(BOOTSTRAP) check-rules $(RULES))}" cloudformation/deploy $(PACKAGE)

clean: ## Remove target/ and .venv/ (a CARGO_TARGET_DIR elsewhere may be somebody else's too, and stays)
	@rm -rf .venv target
