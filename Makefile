# Everything is built with the release profile, so that the C++ of torch-sys, the
# slowest part of a fresh clone, is compiled once for the demo, the tests and the lints.

CARGO ?= cargo
EXPERIMENT ?= experiments/quickstart.toml
N ?= 200

.DEFAULT_GOAL := help
.PHONY: help setup build demo test chaos lint libtorch-cpu libtorch-cuda clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## fetch libtorch and the demo model, once per user (build, demo and test do it too)
	@scripts/setup

build: setup ## build target/release/moreline and target/release/moreline-worker
	@$(CARGO) build --release --workspace --bins

demo: build ## run the whole quickstart experiment and say where its report is
	@target/release/moreline run $(EXPERIMENT)
	@target/release/moreline report $(EXPERIMENT)

# The engine's tests start the worker program, which cargo builds for tests of its own package only.
test: build ## run every test
	@$(CARGO) test --release --workspace

# Needs no libtorch: the engine's tests have a worker of their own.
chaos: ## kill engines and workers N=200 times, and compare what plain runs end with
	@CHAOS_KILLS=$(N) $(CARGO) test --release -p moreline --test main -- engine::chaos --nocapture

lint: setup ## check the format, the lints, the documentation and the dependencies
	@scripts/lint

libtorch-cpu: ## switch this clone to the CPU flavour of libtorch
	@scripts/setup cpu

libtorch-cuda: ## switch this clone to the CUDA flavour of libtorch (several GB)
	@scripts/setup cuda

clean: ## remove what was built in this clone (the per-user cache stays)
	@$(CARGO) clean
