# `make` without a target lists the commands. None of them needs make: each recipe is what you would type.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
SHELL := /bin/bash

# Rust's installer puts cargo there, and only login shells look there.
export PATH := $(PATH):$(HOME)/.cargo/bin

TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
TIDEGATE_BIN := $(TARGET_DIR)/debug/tidegate
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
IMAGE ?= tidegate:$(VERSION)
CONFIGS = $(wildcard conf/*.yaml conf/examples/*.yaml docker/tidegate.yaml)
SHELL_SCRIPTS = $(shell grep -lsE '^\#!.*[ /](ba)?sh$$' .ci/* scripts/* scripts/hooks/* tests/*/run docker/* docker/*/check benches/*)

# Features that the tests need in addition to the default ones.
TEST_FEATURES = --features import-express

# The features of Cargo.toml, one by one.
EACH_FEATURE = $(shell sed -n '/^\[features\]/,/^\[[^f]/s/^\([a-z][a-z-]*\) = .*/\1/p' Cargo.toml | grep -vx default)

##@ Use
PROFILE ?= release
run: ## The demo: gateway on :3000, notifications on :4009, page on :5173 (ARGS="--page-port 5200")
	@scripts/install-deps build
	@cargo run --profile $(PROFILE) -- demo $(ARGS)

docker: ## The production image (IMAGE=tidegate:0.2.0 FEATURES=discovery,jemalloc,opentelemetry,valkey)
	@command -v docker >/dev/null || { echo "docker is missing; see https://docs.docker.com/engine/install"; exit 1; }
	docker build --file docker/Dockerfile --tag $(IMAGE) \
		--build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) \
		--build-arg CREATED=$$(git log -1 --format=%cI 2>/dev/null || date -u +%FT%TZ) \
		$(if $(FEATURES),--build-arg FEATURES=$(FEATURES)) .

##@ Develop
test: test-deps unit gateway browser ## Every test, including those in the browser

# Together these two run the same tests as `cargo test`, and select the same packages: with others the
# dependencies would be compiled again, with other features.
unit: ## Unit tests and documentation tests, of every crate
	cargo test $(TEST_FEATURES) --lib --bins
	cargo test $(TEST_FEATURES) --doc

# `cargo test` alone builds the examples, which some of these tests run.
gateway: ## Tests of the running gateway, of its commands and of the parsers
	cargo build $(TEST_FEATURES) --examples
	$(if $(CI),scripts/rerun-failed) cargo test $(TEST_FEATURES) --test '*'

browser: ## Tests in Chromium and Node.js (builds the gateway first)
	@cargo test --no-run --quiet $(TEST_FEATURES) --test gateway
	@TIDEGATE_BIN=$(TIDEGATE_BIN) scripts/browser-tests

check: deps fmt shellcheck hooks clippy features doc configs docker-check audit ## Everything that .ci/run checks besides the tests

fmt: ## Formatting of every package of the workspace
	cargo fmt --all --check

clippy: ## Lints, as errors: every feature, the default features, none
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	cargo clippy --workspace -- -D warnings
	cargo clippy --workspace --no-default-features -- -D warnings

# The other lints see no feature without the others. The library alone, so that the dependencies are compiled once.
features: ## Lints of the library with each of its features alone
	@for feature in $(EACH_FEATURE); do \
		echo "feature $$feature"; \
		cargo clippy --quiet --workspace --lib --no-default-features --features tidegate/$$feature -- -D warnings || exit 1; \
	done

# Twice: with private items, which docs.rs leaves out, so that links between them are checked; then as docs.rs does it.
doc: ## Documentation, without warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features --document-private-items
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features

shellcheck: ## Lints of the shell scripts
	shellcheck $(SHELL_SCRIPTS)

# `cargo test --no-run` and not `cargo build`: the latter would compile the dependencies again, without
# the features that only the tests need.
configs: ## `tidegate check` on every configuration in conf and docker
	@cargo test --no-run --quiet $(TEST_FEATURES)
	@bad=0; export RUNTIME_DIRECTORY=$$(mktemp -d); \
	for file in $(CONFIGS); do $(TIDEGATE_BIN) check --config $$file || bad=1; done; \
	rmdir $$RUNTIME_DIRECTORY; exit $$bad

hooks: ## The commit hook, on good and bad messages
	tests/hooks/run

# Its own target folder: another compiler's output would replace everything in the usual one.
MSRV = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
msrv: ## Compiles with the oldest supported Rust (needs rustup)
	rustup toolchain install $(MSRV) --profile minimal
	CARGO_TARGET_DIR=$(TARGET_DIR)/msrv cargo +$(MSRV) check --workspace --all-features --locked

semver: ## The library's API against an earlier release (BASELINE=v0.1.0; needs cargo-semver-checks)
	cargo semver-checks --package tidegate --baseline-rev $(BASELINE)

docker-check: ## The parts of docker/ that can be checked without an engine and a cluster
	@TIDEGATE_BIN=$(TIDEGATE_BIN) docker/check
	@TIDEGATE_BIN=$(TIDEGATE_BIN) docker/kubernetes/check
	@docker/prometheus/check

audit: ## Licences and sources of the dependencies
	@scripts/audit

autobahn: ## Autobahn's cases directly and through the gateway (ARGS=--subset)
	@cargo build --quiet $(TEST_FEATURES)
	tests/autobahn/run $(ARGS)

admin-contract: ## The admin endpoint against its OpenAPI document (installs schemathesis)
	@cargo build --quiet $(TEST_FEATURES)
	tests/admin/run

newcomer: ## From an empty folder to a working gateway, with only check, explain and diff
	@cargo build --quiet $(TEST_FEATURES)
	tests/newcomer/run

h2spec: ## h2spec's cases on the TLS listener (needs h2spec)
	@cargo build --quiet $(TEST_FEATURES)
	tests/h2spec/run $(ARGS)

##@ Measure
bench: ## CPU time and memory against bare Pingora and others (ARGS="http", "all --json figures.json")
	@scripts/install-deps build
	benches/run $(or $(ARGS),http)

soak: ## Sockets that open and close while everything changes (ARGS="--minutes 2 --sockets 300", --short)
	@scripts/install-deps build
	benches/soak $(ARGS)

microbench: ## Criterion's benches of the router and of the CORS decision
	@scripts/install-deps build
	cargo bench $(ARGS)

fuzz: ## Fuzz each parser for a minute (ARGS="config 600", a target of fuzz/fuzz_targets and seconds)
	@scripts/install-deps build fuzz
	scripts/fuzz $(ARGS)

deps:
	@scripts/install-deps build lint fuzz

test-deps:
	@scripts/install-deps build test

help:
	@echo "Tidegate $(VERSION): make TARGET"
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile

.PHONY: admin-contract audit autobahn bench browser check clippy configs deps doc docker docker-check features fmt fuzz gateway \
	h2spec help hooks microbench msrv newcomer run semver shellcheck soak test test-deps unit
