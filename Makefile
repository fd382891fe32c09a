# The commands of the house. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test e2e soak chaos lint fmt bench measure reference manifests

export PATH := $(HOME)/.cargo/bin:$(PATH)

help: ## List these commands
	@sed -n 's/^\([a-z0-9]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name about; do printf '  make %-10s %s\n' "$$name" "$$about"; done

demo: ## Plan, apply and drift on examples/acme, with a private PostgreSQL; installs what it needs
	@bash .ci/install
	@bash examples/demo.sh

test: ## Run all tests; installs what they need
	@bash .ci/install tests
	cargo test --locked

e2e: ## Run the tests against a real API server of Kubernetes; builds it once, which takes some minutes
	@bash .ci/install e2e
	ARGUS_KUBERNETES=$$(bash .ci/install kubernetes-path) ARGUS_HELM=$$(bash .ci/install helm-path) cargo test --locked --test integration -- --ignored cluster::

soak: ## Kill argus a thousand times, anywhere between a change and its events; ARGUS_SOAK says how often
	@bash .ci/install tests
	ARGUS_SOAK=$${ARGUS_SOAK:-1000} cargo test --locked --test integration -- --nocapture cli::soak

chaos: ## Kill and pause replicas of the controller 200 times; ARGUS_CHAOS_ROUNDS says how often
	@bash .ci/install tests
	ARGUS_CHAOS_ROUNDS=$${ARGUS_CHAOS_ROUNDS:-200} cargo test --locked --test integration -- --nocapture cli::controller::replicas::killed

lint: ## Check format, lints, documentation and dependencies; installs what that needs
	@bash .ci/install lint
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	cargo deny --locked check bans licenses sources

fmt: ## Format the code
	cargo fmt --all

bench: ## Run the micro-benchmarks
	@bash .ci/install
	cargo bench --locked

measure: ## Measure whole commands at 1,000, 10,000 and 100,000 resources (docs/performance.md)
	@bash .ci/install tests
	cargo build --locked --release --bin argus --example generate --example measure
	target/release/examples/measure $(ARGS)

reference: ## Rewrite the documents that are derived from the code
	ARGUS_UPDATE=1 cargo test --locked --test integration reference

manifests: ## Rewrite what Kustomize reads, which is rendered from the chart; builds Helm once
	@bash .ci/install helm
	ARGUS_UPDATE=1 ARGUS_HELM=$$(bash .ci/install helm-path) cargo test --locked --test integration -- --ignored cluster::chart::kustomize::what
