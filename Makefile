# The house's commands; `make` alone lists them. All of it can be done without make: each recipe is
# what one would type.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
SHELL := /bin/bash

# Rust's installer puts cargo there, and a shell that is no login shell does not look there.
export PATH := $(PATH):$(HOME)/.cargo/bin

TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
TIDEGATE_BIN := $(TARGET_DIR)/debug/tidegate
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
IMAGE ?= tidegate:$(VERSION)
CONFIGS = $(wildcard conf/*.yaml conf/examples/*.yaml docker/tidegate.yaml)
SHELL_SCRIPTS = $(shell grep -lsE '^\#!.*[ /](ba)?sh$$' .ci/* scripts/* tests/*/run docker/* docker/*/check benches/*)

# What the tests need beside the default features.
TEST_FEATURES = --features import-express

##@ Use
PROFILE ?= release
run: ## The demo: gateway on :3000, notifications on :4009, page on :5173 (ARGS="--page-port 5200")
	@scripts/install-deps build
	@cargo run --profile $(PROFILE) -- demo $(ARGS)

docker: ## The production image (IMAGE=tidegate:0.1.0 FEATURES=jemalloc)
	@command -v docker >/dev/null || { echo "docker is missing; see https://docs.docker.com/engine/install"; exit 1; }
	docker build --file docker/Dockerfile --tag $(IMAGE) \
		--build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) \
		--build-arg CREATED=$$(git log -1 --format=%cI 2>/dev/null || date -u +%FT%TZ) \
		$(if $(FEATURES),--build-arg FEATURES=$(FEATURES)) .

##@ Develop
test: ## Every test, the browser's included
	@scripts/install-deps build test
	cargo test $(TEST_FEATURES)
	@TIDEGATE_BIN=$(TIDEGATE_BIN) scripts/browser-tests

check: deps fmt shellcheck clippy doc configs docker-check audit ## Everything that .ci/run checks besides the tests

fmt: ## Formatting, of every package here
	cargo fmt --all --check

clippy: ## Lints, as errors, with every feature and with none
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	cargo clippy --workspace --no-default-features -- -D warnings

# Twice: with what docs.rs leaves out, so that links between internals hold; then as docs.rs does it.
doc: ## Documentation, without warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features --document-private-items
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features

shellcheck: ## Lints of the shell scripts
	shellcheck $(SHELL_SCRIPTS)

# `cargo test --no-run` and not `cargo build`: the latter would compile the dependencies again, with
# the features that the tests alone do not ask for.
configs: ## `tidegate check` on every configuration in conf and docker
	@cargo test --no-run --quiet $(TEST_FEATURES)
	@bad=0; export RUNTIME_DIRECTORY=$$(mktemp -d); \
	for file in $(CONFIGS); do $(TIDEGATE_BIN) check --config $$file || bad=1; done; \
	rmdir $$RUNTIME_DIRECTORY; exit $$bad

docker-check: ## What of docker/ can be checked without an engine and a cluster
	@TIDEGATE_BIN=$(TIDEGATE_BIN) docker/check
	@TIDEGATE_BIN=$(TIDEGATE_BIN) docker/kubernetes/check
	@docker/prometheus/check

audit: ## Licences and sources of the dependencies
	@scripts/audit

autobahn: ## Autobahn's cases straight and through the gateway (ARGS=--subset)
	@cargo build --quiet $(TEST_FEATURES)
	tests/autobahn/run $(ARGS)

admin-contract: ## the admin endpoint against its OpenAPI document (installs schemathesis)
	@cargo build --quiet $(TEST_FEATURES)
	tests/admin/run

newcomer: ## from an empty folder to a gateway that works, by check, explain and diff alone
	@cargo build --quiet $(TEST_FEATURES)
	tests/newcomer/run

h2spec: ## h2spec's cases on the TLS listener (needs h2spec)
	@cargo build --quiet $(TEST_FEATURES)
	tests/h2spec/run $(ARGS)

##@ Measure
bench: ## CPU time and memory against bare Pingora and others (ARGS="http", "all --json figures.json")
	@scripts/install-deps build
	benches/run $(or $(ARGS),http)

soak: ## Sockets that come and go while everything changes (ARGS="--minutes 2 --sockets 300", --short)
	@scripts/install-deps build
	benches/soak $(ARGS)

microbench: ## Criterion's benches of the router and of the CORS decision
	@scripts/install-deps build
	cargo bench $(ARGS)

fuzz: ## Fuzz the parsers, a minute each (ARGS="config 600", a target of fuzz/fuzz_targets and seconds)
	@scripts/install-deps build fuzz
	scripts/fuzz $(ARGS)

deps:
	@scripts/install-deps build lint

help:
	@echo "Tidegate $(VERSION): make TARGET"
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile

.PHONY: admin-contract audit bench check clippy autobahn configs deps doc docker docker-check fmt fuzz h2spec help microbench newcomer run shellcheck soak test
