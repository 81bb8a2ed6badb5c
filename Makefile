# What one does with this repository. `make` alone lists it.
#
# A broker is needed by demo and test: the one named by KAFKA_BOOTSTRAP, else Apache Kafka as a local process (a JDK and
# Maven), else apache/kafka in Docker. Each target says which it used.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SERVICE ?=
BENCH_PEERS ?=
export BENCH_PEERS
CARGO_DENY_VERSION := 0.20.2
TOOLS := target/tools

.PHONY: help demo demo-learning test chaos bench bench-model check up down logs e2e build fetch peers browser collector

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build fetch ## The whole loop on a real Kafka with the paper's 150 rows; DEMO_INTERVAL_MS, DEMO_KEEP=1
	target/debug/demo

demo-learning: build fetch ## The loop that learns: rounds of feedback, a rollback, and a sensor that drifts
	target/debug/demo-learning

test: build fetch collector ## Every test, on a real broker and real databases
	target/debug/with-broker cargo test --workspace --locked

# IRIS_SABOTAGE names a defence to do without (crates/iris-kafka/src/defence.rs), to see that it is missed.
chaos: build fetch ## Processes, brokers and commits broken by seed; CHAOS_RUNS, CHAOS_RECORDS, CHAOS_SEED
	target/debug/chaos

bench: peers fetch ## Throughput and latency beside limits and peers; BENCH_RUNS, BENCH_RECORDS, BENCH_PEERS=no, BENCH_ONLY
	cargo build --release --locked --bins -p iris-bench -p iris-producer -p iris-classifier -p iris-feedback-sink -p iris-dashboard
	target/release/bench

bench-model: peers ## Predictions a second by rows and features, beside smartcore and scikit-learn
	cargo bench --locked -p iris-bench --bench model
	if [ "$(BENCH_PEERS)" != no ]; then target/bench/venv/bin/python bench/model.py; fi

# The other systems, built below target/bench.
peers:
	if [ "$(BENCH_PEERS)" != no ]; then \
	  mvn -q -B -Dstyle.color=never -f bench/peers/jvm/pom.xml -Dbuild.root=$(PWD)/target/bench/peers package; \
	  python3 -m venv target/bench/venv; \
	  target/bench/venv/bin/pip install -q --disable-pip-version-check -r bench/peers/python/requirements.txt; \
	fi

check: ## Formatting, lints, documentation and licences, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --locked --document-private-items
	@command -v cargo-deny >/dev/null || [ -x $(TOOLS)/bin/cargo-deny ] || \
	  cargo install cargo-deny --locked --version $(CARGO_DENY_VERSION) --root $(TOOLS) --target-dir $(TOOLS)/build
	PATH="$(PWD)/$(TOOLS)/bin:$$PATH" cargo deny --all-features check bans licenses sources

up: ## Start everything in Docker
	docker compose up --build --detach --wait kafka postgres iris-classifier iris-trainer iris-feedback-sink iris-dashboard
	docker compose up --detach prometheus iris-producer
	@echo "The rows stream; watch them at http://localhost:$${DASHBOARD_PORT:-8080}. Alerts: http://localhost:$${PROMETHEUS_PORT:-9090}"
	@echo "Watch one service: make logs SERVICE=iris-classifier. Stop everything: make down"

down: ## Stop everything in Docker and forget its data
	docker compose down --volumes --remove-orphans

logs: ## Follow one service's log: make logs SERVICE=iris-classifier
	@[ -n "$(SERVICE)" ] || { echo "error: which service? make logs SERVICE=iris-classifier" >&2; exit 2; }
	docker compose logs --follow $(SERVICE)

e2e: browser ## docker compose up for real, checked from outside and in a browser
	cargo test --workspace --locked --features iris-testkit/e2e --test e2e -- --nocapture

# A browser, what drives it, and what tries the API.
browser:
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; }
	npm ci --prefix crates/iris-testkit/browser --no-audit --no-fund --loglevel=error
	python3 -m venv $(TOOLS)/schemathesis
	$(TOOLS)/schemathesis/bin/pip install -q --disable-pip-version-check -r crates/iris-testkit/browser/requirements.txt

# What receives traces in tests.
collector:
	cd crates/iris-testkit/otlp && go build -o $(PWD)/$(TOOLS)/collector .

# Everything that the other targets run, built once: tests included, since their dependencies change how others build.
build:
	cargo build --workspace --all-targets --locked $(if $(IRIS_SABOTAGE),--features iris-kafka/sabotage)

# What a local broker needs, fetched before anything is timed.
fetch:
	@if [ -z "$${KAFKA_BOOTSTRAP:-}" ] && command -v java mvn >/dev/null; then deploy/local/local.sh fetch kafka; fi
