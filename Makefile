# Tasks of this repository. `make` without a target lists them.
#
# demo, test, chaos, sanitize and bench need a broker: the one in KAFKA_BOOTSTRAP if it is set, else Apache Kafka as a local process
# (needs a JDK and Maven), else apache/kafka in Docker. Each target prints which one it uses. KAFKA is the version of a broker that
# they start, one of those in deploy/local/kafka-versions.sh: make test KAFKA=3.9.2
#
# The demo and the tests use the dev profile, which compiles faster. bench, dist and the images use the release profile.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SERVICE ?=
ONLY ?=
BENCH_PEERS ?=
export BENCH_PEERS
# The default is in deploy/local/kafka-versions.sh.
KAFKA ?= $(KAFKA_VERSION)
export KAFKA_VERSION := $(KAFKA)
CARGO_DENY_VERSION := 0.20.2
TOOLS := target/tools

# yes builds the services with imported models in the ONNX format, which takes minutes more.
ONNX ?= no
ONNX_CRATES := iris-testkit iris-admin iris-classifier iris-trainer iris-dashboard
ONNX_FEATURES = $(if $(filter yes,$(ONNX)),$(ONNX_CRATES:%=--features %/onnx))

SERVICES := iris-admin iris-producer iris-classifier iris-trainer iris-feedback-sink iris-dashboard
# Builds the binaries of the services and those of the testkit that are added.
BUILD = cargo build --locked -p iris-testkit $(foreach service,$(SERVICES),-p $(service) --bin $(service)) $(ONNX_FEATURES)

.PHONY: help demo demo-learning unit test chaos sanitize bench bench-model bench-scale check dist up secrets secured down logs e2e native fetch peers browser collector onnx-models

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Prints a step's title, runs its command, and prints its duration: $(call step,title,command).
define step
	@echo "==> $(1)"; start=$$SECONDS; $(2); echo "    done in $$((SECONDS - start)) s"
endef
BUILDING = (a first build takes minutes; later ones take seconds)

# For brokers that run for a minute: without the optimising compiler, they start in half the time.
demo demo-learning test sanitize: export KAFKA_JAVA_OPTIONS ?= -XX:TieredStopAtLevel=1

demo: native ## Run all services except the trainer on a real Kafka with the paper's 150 rows; DEMO_INTERVAL_MS, DEMO_KEEP=1
	$(call step,1/3 Building the six services and the demo $(BUILDING),$(BUILD) --bin demo)
	$(call step,2/3 Fetching Apache Kafka with Maven unless KAFKA_BOOTSTRAP names a broker (about 45 MB; once),$(FETCH))
	@echo "==> 3/3 Starting Kafka and the services and streaming 150 rows; the page's address follows"
	@target/debug/demo

demo-learning: native ## Run all services with the trainer: rounds of feedback, a rollback, a sensor that drifts, and reversed labels
	$(call step,1/3 Building the six services and the demo $(BUILDING),$(BUILD) --bin demo-learning)
	$(call step,2/3 Fetching Apache Kafka with Maven unless KAFKA_BOOTSTRAP names a broker (about 45 MB; once),$(FETCH))
	@echo "==> 3/3 Starting Kafka and the services; the rounds take about two minutes"
	@target/debug/demo-learning

# The targets that have tests. Naming them avoids linking a test harness for each binary without tests.
LIBRARIES := --lib --bin iris-dist
PROPERTIES := --test formats --test hostile --test reference
ALL_TESTS = $(LIBRARIES) $(PROPERTIES) --test suites
SUITES := $(shell sed -n 's/^mod \(.*\);$$/\1/p' crates/iris-testkit/tests/suites/main.rs)

# IRIS_SABOTAGE switches off a defence (crates/iris-kafka/src/defence.rs), to show that a suite or chaos then fails.
SABOTAGE = $(if $(IRIS_SABOTAGE),--features iris-kafka/sabotage)

# Most tests wait more than they compute, so more tests run in parallel than there are cores.
unit: export RUST_TEST_THREADS ?= 16
test sanitize: export RUST_TEST_THREADS ?= 4
test: ONNX = $(if $(filter-out onnx,$(ONLY)),no,yes)

# Tests that need no broker, database or other process.
UNIT_TESTS = deploy/run-tests.sh --workspace --locked $(LIBRARIES) $(PROPERTIES)

RUN_SUITES = cargo test --workspace --locked --test suites $(ONNX_FEATURES) --
# Suites that bound how long a partition waits. They run after the others, one test at a time.
PAUSES := restarts

# Compiling tract takes minutes, and the models are made by another process.
WITHOUT_ONNX := --exclude iris-onnx

unit: native ## Run every test that needs no broker, database or other process; IRIS_TEST_CASES sizes property tests
	$(UNIT_TESTS) $(WITHOUT_ONNX)

# The compiler does not wait for the collector and the downloads.
test: native fetch ## Run every test, on a real broker and real databases; ONLY=store runs one suite of crates/iris-testkit/tests/suites, KAFKA=3.9.2 another version
ifeq ($(ONLY),)
	{ $(COLLECTOR) && $(FETCH_POSTGRES) && $(ONNX_MODELS); } & fetching=$$!; \
	  $(BUILD) --bins && cargo test --no-run --workspace --locked $(ALL_TESTS) --test scikit_learn $(ONNX_FEATURES) && wait $$fetching
	IRIS_TEST_CASES=$${IRIS_TEST_CASES:-1000000} $(UNIT_TESTS) --test scikit_learn $(ONNX_FEATURES)
	target/debug/with-broker bash -euc '$(RUN_SUITES) $(PAUSES:%=--skip %::); RUST_TEST_THREADS=1 $(RUN_SUITES) $(PAUSES:%=%::)'
else
	$(if $(filter $(ONLY),$(SUITES)),,@echo "error: unknown suite $(ONLY): allowed are $(SUITES)" >&2; exit 2)
	$(if $(filter traces,$(ONLY)),$(COLLECTOR))
	$(if $(filter onnx,$(ONLY)),$(ONNX_MODELS) && cargo test --locked -p iris-onnx)
	$(BUILD) --bins --test suites $(SABOTAGE)
	target/debug/with-broker cargo test --locked -p iris-testkit --test suites $(SABOTAGE) $(if $(filter onnx,$(ONLY)),--features iris-testkit/onnx) -- $(ONLY)::
endif

chaos: native fetch ## Inject random faults into processes, brokers and commits; CHAOS_RUNS, CHAOS_RECORDS, CHAOS_SEED, KAFKA
	$(BUILD) --bin chaos $(SABOTAGE)
	target/debug/chaos

sanitize: native fetch ## Run the tests of unsafe code, and suites on a real broker, with AddressSanitizer; SANITIZE_SUITES names suites
	deploy/sanitize.sh

bench: native peers fetch ## Measure throughput and latency, also of limits and peers; BENCH_RUNS, BENCH_RECORDS, BENCH_PEERS=no, BENCH_ONLY
	cargo build --release --locked --bins -p iris-bench -p iris-producer -p iris-classifier -p iris-feedback-sink -p iris-dashboard
	target/release/bench

bench-model: native peers ## Measure the model's predictions per second, also of smartcore and scikit-learn
	cargo bench --locked -p iris-bench --bench model --bench forest
	if [ "$(BENCH_PEERS)" != no ]; then target/bench/venv/bin/python bench/model.py; fi

# Members of a new group start together: their broker waits for the next one. The last command writes docs/CAPACITY.md.
bench-scale: export KAFKA_PROPERTIES := $(PWD)/bench/scale.properties
bench-scale: native fetch ## Measure what workers, partitions and brokers carry; SCALE_WORKERS, SCALE_TRICKLE, SCALE_SECONDS, SCALE_PARTITIONS, SCALE_RECORDS, SCALE_TRAINER_SECONDS, SCALE_ONLY
	cargo build --release --locked --bins -p iris-bench -p iris-classifier -p iris-trainer
	target/release/bench-scale
	target/release/bench-scale document

# The other systems, built in target/bench.
peers:
	if [ "$(BENCH_PEERS)" != no ]; then \
	  mvn -q -B -Dstyle.color=never -f bench/peers/jvm/pom.xml -Dkafka.version=$(KAFKA_VERSION) -Dbuild.root=$(PWD)/target/bench/peers package; \
	  python3 -m venv target/bench/venv; \
	  target/bench/venv/bin/pip install -q --disable-pip-version-check -r bench/peers/python/requirements.txt; \
	fi

check: native ## Check formatting, lints, documentation and licences; warnings are errors
	cargo fmt --all --check
	deploy/check-log-macros.sh
	cargo clippy --workspace --all-targets --all-features --locked -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --locked --document-private-items
	@command -v cargo-deny >/dev/null || [ -x $(TOOLS)/bin/cargo-deny ] || \
	  CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-deny --debug --locked --version $(CARGO_DENY_VERSION) --root $(TOOLS) --target-dir $(TOOLS)/build
	PATH="$(PWD)/$(TOOLS)/bin:$$PATH" cargo deny --all-features check bans licenses sources

dist: ## Build the release archive with checksums and SBOM in target/dist
	deploy/dist/dist.sh

up: ## Start everything in Docker
	docker compose up --build --detach --wait kafka postgres iris-classifier iris-trainer iris-feedback-sink iris-dashboard
	docker compose up --detach prometheus iris-producer
	@echo "The page is at http://localhost:$${DASHBOARD_PORT:-8080}, Prometheus at http://localhost:$${PROMETHEUS_PORT:-9090}"
	@echo "Follow one service: make logs SERVICE=iris-classifier. Stop everything: make down"

secrets: ## Create the certificates and passwords of the secured deployment; PAGE_HOSTS names the page besides localhost
	deploy/secured/secrets.sh $(PAGE_HOSTS)

secured: secrets ## Start the secured deployment in Docker
	docker compose --profile secured up --build --detach
	@echo "The page is at https://localhost:$${PROXY_PORT:-8443}; its user is iris, its password in deploy/secured/secrets/page-password"

down: ## Stop everything in Docker and delete its data
	docker compose --profile '*' down --volumes --remove-orphans

logs: ## Follow one service's log: make logs SERVICE=iris-classifier
	@[ -n "$(SERVICE)" ] || { echo "error: no service given: use, for example, make logs SERVICE=iris-classifier" >&2; exit 2; }
	docker compose --profile '*' logs --follow $(SERVICE)

e2e: browser ## Test the whole system in Docker, from outside and in a browser; E2E_BUILD=no takes the images that exist
	cargo test --workspace --locked --features iris-testkit/e2e --test e2e -- --nocapture

# A browser, its driver, and the API tester.
browser:
	@command -v chromium >/dev/null || { echo "==> Installing Chromium with apt-get (needs root)"; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; }
	npm ci --prefix crates/iris-testkit/browser --no-audit --no-fund --loglevel=error
	python3 -m venv $(TOOLS)/schemathesis
	$(TOOLS)/schemathesis/bin/pip install -q --disable-pip-version-check -r crates/iris-testkit/browser/requirements.txt

# The models of scikit-learn that tests import, in target/onnx.
ONNX_MODELS = python3 -m venv target/onnx/venv && \
  target/onnx/venv/bin/pip install -q --disable-pip-version-check -r crates/iris-onnx/tests/requirements.txt && \
  target/onnx/venv/bin/python crates/iris-onnx/tests/models.py data/iris.csv target/onnx
onnx-models:
	$(ONNX_MODELS)

# The collector that receives traces in tests.
COLLECTOR = go build -C crates/iris-testkit/otlp -o $(PWD)/$(TOOLS)/collector .
collector:
	$(COLLECTOR)

# Decides whether OpenSSL and zstd are the system's or compiled from source.
native:
	@deploy/native.sh

# Refuses a version that is unknown, or of a broker that is already running.
VERSION_CHECK = deploy/local/local.sh version >/dev/null; \
  if [ -n "$(KAFKA)" ] && [ -n "$${KAFKA_BOOTSTRAP:-}" ]; then \
    echo "error: KAFKA chooses the version of a broker that is started, but KAFKA_BOOTSTRAP names a running one: set only one of them" >&2; exit 2; \
  fi

# Downloads what a local broker needs, so that downloads are not part of any measured time.
FETCH = $(VERSION_CHECK); if [ -z "$${KAFKA_BOOTSTRAP:-}" ] && command -v java >/dev/null && command -v mvn >/dev/null; then deploy/local/local.sh fetch kafka; fi
FETCH_POSTGRES = if [ -z "$${IRIS_TEST_POSTGRES:-}" ]; then deploy/local/local.sh fetch postgres; fi
fetch:
	@$(FETCH)
