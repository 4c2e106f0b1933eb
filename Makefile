# What a newcomer needs is `make demo` and `make test`; `make` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# One target directory for every clone of this project, outside of them all:
# RocksDB takes a quarter of an hour to compile, and is compiled there once.
CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/luytre/target
export CARGO_TARGET_DIR

RUST_NEEDED := 1.95
BENCH ?=

.PHONY: help deps deps-ci build release man deb deb-check demo run test test-warninglists test-python test-go test-java lint doc bench bench-history clean-demo

help: ## this list
	@echo "Lũy Tre. Start with: make demo, make test"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Built in $(CARGO_TARGET_DIR)"

deps: ## install what the build needs and is missing (Debian, Ubuntu)
	@old() { ! printf '%s\n' "$(RUST_NEEDED)" "$$1" | sort -C -V; }; \
	have=$$(rustc --version 2>/dev/null | cut -d' ' -f2 || true); \
	if [ -z "$$have" ]; then \
	    echo "There is no rustc here. Install Rust from https://rustup.rs, then: make deps" >&2; exit 1; \
	elif old "$$have"; then \
	    echo "rustc $$have is too old, $(RUST_NEEDED) or newer is needed. Run: rustup update stable" >&2; exit 1; \
	fi; \
	missing=(); \
	command -v cc >/dev/null || missing+=(gcc); \
	command -v c++ >/dev/null || missing+=(g++); \
	if [ -z "$${LIBCLANG_PATH:-}" ] && ! compgen -G '/usr/lib/llvm-*/lib/libclang.so*' >/dev/null && ! compgen -G '/usr/lib/llvm-*/lib/libclang-[0-9]*.so*' >/dev/null \
	    && ! ldconfig -p 2>/dev/null | grep -q 'libclang[-.0-9]*\.so'; then missing+=(libclang-dev); fi; \
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv); \
	if [ $${#missing[@]} -eq 0 ]; then echo "rustc $$have, a C++ compiler, libclang and Python are here: nothing to install."; exit 0; fi; \
	as_root=(); \
	if ! command -v apt-get >/dev/null; then \
	    echo "Missing: $${missing[*]} (Debian's names; on Fedora gcc gcc-c++ clang-devel python3). Install them, then: make deps" >&2; exit 1; \
	elif [ "$$(id -u)" -ne 0 ]; then \
	    if sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null; }; then as_root=(sudo); \
	    else echo "Missing: $${missing[*]}. Have root run: apt-get install $${missing[*]}" >&2; exit 1; fi; \
	fi; \
	echo "Installing $${missing[*]}"; \
	"$${as_root[@]}" apt-get update -qq && "$${as_root[@]}" apt-get install -y --no-install-recommends "$${missing[@]}"

deps-ci: ## install who reads our exports as a second opinion: BIND, Suricata
	@.ci/checkers

build: deps ## build luytred and luytre as the tests and the demo use them
	cargo build --locked --bins

# The optimised build may take RocksDB from the build above, which compiles it
# with the same flags: same release of the library, no RUSTFLAGS of your own.
ROCKSDB = $(if $(RUSTFLAGS),,$(shell \
	version=$$(sed -n '/^name = "librocksdb-sys"/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock); \
	for output in $(CARGO_TARGET_DIR)/debug/build/librocksdb-sys-*/output; do \
	    archive="$${output%/output}/out"; \
	    if [ -s "$$archive/librocksdb.a" ] && grep -q "cargo_manifest_dir=.*/librocksdb-sys-$$version$$" "$$output" 2>/dev/null; then \
	        echo "ROCKSDB_LIB_DIR=$$archive ROCKSDB_STATIC=1"; break; \
	    fi; \
	done))

release: deps ## build the optimised binaries for an installation
	$(ROCKSDB) cargo build --locked --release --bins
	@echo "Built: $(CARGO_TARGET_DIR)/release/luytred and $(CARGO_TARGET_DIR)/release/luytre"

# DEB_PROFILE=debug packages the binaries of `make build`, to try the package.
DEB_PROFILE ?= release
DEB_BUILD = $(if $(filter debug,$(DEB_PROFILE)),build,release)

man: $(DEB_BUILD) ## write the manual pages and completions
	@packaging/build-deb.sh $(CARGO_TARGET_DIR)/$(DEB_PROFILE) --pages

deb: $(DEB_BUILD) ## make the Debian package
	@packaging/build-deb.sh $(CARGO_TARGET_DIR)/$(DEB_PROFILE)

deb-check: deb ## prove the package in a fresh Debian, as root
	@packaging/check-deb.sh $(CARGO_TARGET_DIR)/package/luytre_*.deb

demo: deps ## show the hub at work: publish, subscribe, kill, resume, revoke
	@demo/run.sh

run: deps ## a hub with the demo's organisations, until Ctrl-C
	@demo/run.sh serve

test: deps ## every test
	cargo test --locked

# The environment lies beside what cargo builds, and is made once; the package
# is built anew each time, as `pip install ./clients/python` does.
PYTHON = $(CARGO_TARGET_DIR)/python/bin

# What PyPI's pymispwarninglists ships: over a hundred lists, two million entries.
test-warninglists: ## every warninglist of MISP through the guards
	@[ -d $(CARGO_TARGET_DIR)/warninglists ] || { python3 -m venv --clear $(CARGO_TARGET_DIR)/warninglists \
	    && $(CARGO_TARGET_DIR)/warninglists/bin/pip install --quiet --disable-pip-version-check --no-deps pymispwarninglists; }
	lists=$$(echo $(CARGO_TARGET_DIR)/warninglists/lib/python3*/site-packages/pymispwarninglists/data/misp-warninglists/lists); \
	LUYTRE_WARNINGLISTS=$$lists cargo test --locked --test it -- guards_data:: --nocapture

test-python: build ## the Python client: lint, types, and its tests against the hub
	@[ -x $(PYTHON)/pip ] || python3 -m venv --clear $(CARGO_TARGET_DIR)/python
	$(PYTHON)/pip install --quiet --disable-pip-version-check './clients/python[test]'
	cd clients/python && $(PYTHON)/ruff format --check . && $(PYTHON)/ruff check .
	cd clients/python && $(PYTHON)/mypy -p luytre
	cd clients/python && $(PYTHON)/pytest

# What Debian 12 has: Go 1.19 with gRPC 1.33, Java 17 with gRPC 1.41. Nothing is
# fetched from elsewhere, and no generated code is kept.
test-go: build ## the small Go client, against the hub
	@clients/need golang-go golang-google-grpc-dev golang-github-golang-protobuf-1-5-dev \
	    protobuf-compiler protoc-gen-go-1-5 protoc-gen-go-grpc
	clients/go/build $(CARGO_TARGET_DIR)/go
	python3 clients/smoke.py $(CARGO_TARGET_DIR)/go/luytre-smoke

test-java: build ## the small Java client, against the hub
	@clients/need default-jdk-headless protobuf-compiler protobuf-compiler-grpc-java-plugin \
	    libgoogle-common-protos-java libgrpc-java libguava-java libnetty-java \
	    libnetty-tcnative-java libnetty-tcnative-jni libperfmark-java libprotobuf-java
	clients/java/build $(CARGO_TARGET_DIR)/java
	python3 clients/smoke.py $(CARGO_TARGET_DIR)/java/luytre-smoke

lint: ## formatting, clippy, licences and bans of dependencies
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@if cargo tree --locked --no-default-features -e normal,build --prefix none | grep -E '^(librocksdb-sys|rocksdb|axum|clap) '; then \
	    echo "the client alone would build the hub's libraries, above; see the feature \`hub\` in Cargo.toml." >&2; exit 1; fi
	cargo check --locked --lib --no-default-features
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --log-level error check; \
	elif cargo tree --locked -e normal,build -i ring 2>/dev/null | grep -q '^ring '; then \
	    echo "ring is in the tree again; aws-lc-rs is the only crypto provider." >&2; exit 1; \
	else echo "cargo-deny is not here: of deny.toml only the ban of ring was checked (cargo install cargo-deny --locked)."; fi

doc: ## the documentation of the code, warnings denied
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps

bench: deps ## measure the optimised hub beside the machine's limits (BENCH="P1 P7")
	$(ROCKSDB) cargo bench --locked --bench hub -- $(BENCH)

# Ten million indicators take their time to come up and to go down.
bench-history: deps ## measure the hub with a long history (BENCH="P13 --rows 1000000")
	$(ROCKSDB) LUYTRE_TEST_PATIENCE=1800 cargo bench --locked --bench history -- $(BENCH)

clean-demo: ## remove what the demo wrote
	rm -rf demo/run
