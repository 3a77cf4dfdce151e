# The only door. `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
CARGO ?= cargo
BIN := target/release/synledger
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PREFIX ?= /usr/local
MAN := target/man
CAPTURES ?= ../shared/captures
ARGS ?=

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# On standard output is the log alone: what make and cargo say goes to standard error, here and in `run`.
.PHONY: build
build: ## Build the program
	@set -x; $(CARGO) build --release --locked >&2

.PHONY: run
run: build ## Build as you, then watch the default-route interfaces as root (ARGS=... for flags)
	@set -x; $(SUDO) $(BIN) run $(ARGS)

.PHONY: man
man: ## Write manual pages, shell completions and an example of the configuration file to target/man
	$(CARGO) run --release --locked -q -p man -- $(MAN)

.PHONY: install
install: build man ## Install program, manual pages, completions and an example of the configuration file (PREFIX=/usr/local, DESTDIR=)
	$(INSTALL_SUDO) $(MAKE) --no-print-directory install-files PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)'

# Builds as you; root only where the folder is root's.
INSTALL_SUDO = $(shell d="$(DESTDIR)$(PREFIX)"; until [ -e "$$d" ]; do d=$$(dirname "$$d"); done; [ -w "$$d" ] || echo sudo)
SHARE = $(DESTDIR)$(PREFIX)/share

PROGRAM = $(DESTDIR)$(PREFIX)/bin/synledger
# Delivers `--output parquet:`; installed where `make parquet` has built it.
PARQUET = $(DESTDIR)$(PREFIX)/bin/synledger-parquet
# Debuggers look for it there, by the link that the stripped program carries.
DEBUG = $(DESTDIR)$(PREFIX)/bin/.debug/synledger.debug
PAGES = $(addprefix $(SHARE)/man/man1/,synledger.1 synledger-run.1 synledger-read.1 synledger-check.1 synledger-block.1 synledger-top.1) $(SHARE)/man/man7/synledger.7
BASH_COMPLETION = $(SHARE)/bash-completion/completions/synledger
ZSH_COMPLETION = $(SHARE)/zsh/site-functions/_synledger
FISH_COMPLETION = $(SHARE)/fish/vendor_completions.d/synledger.fish
CONFIG_EXAMPLE = $(SHARE)/doc/synledger/synledger.toml

.PHONY: parquet
parquet: ## Build synledger-parquet, which delivers --output parquet: to folders and buckets; it has packages that the sensor has not
	$(CARGO) build --release --locked -p synledger-parquet

.PHONY: install-files
install-files:
	install -D -m 755 $(BIN) $(PROGRAM)
	install -D -m 644 /dev/null $(DEBUG)
	objcopy --only-keep-debug $(BIN) $(DEBUG) && chmod 644 $(DEBUG)
	objcopy --strip-all --add-gnu-debuglink=$(DEBUG) $(PROGRAM)
	[ ! -x $(dir $(BIN))synledger-parquet ] || install -D -m 755 -s $(dir $(BIN))synledger-parquet $(PARQUET)
	for page in $(PAGES); do install -D -m 644 $(MAN)/$${page##*/} $$page || exit; done
	install -D -m 644 $(MAN)/synledger.bash $(BASH_COMPLETION)
	install -D -m 644 $(MAN)/_synledger $(ZSH_COMPLETION)
	install -D -m 644 $(MAN)/synledger.fish $(FISH_COMPLETION)
	install -D -m 644 $(MAN)/synledger.toml $(CONFIG_EXAMPLE)

.PHONY: uninstall
uninstall: ## Remove what install put there, with the same PREFIX and DESTDIR
	$(INSTALL_SUDO) rm -f $(PROGRAM) $(PARQUET) $(DEBUG) $(PAGES) $(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION) $(CONFIG_EXAMPLE)
	@[ ! -d $(dir $(DEBUG)) ] || $(INSTALL_SUDO) rmdir --ignore-fail-on-non-empty $(dir $(DEBUG))
	@[ ! -d $(dir $(CONFIG_EXAMPLE)) ] || $(INSTALL_SUDO) rmdir --ignore-fail-on-non-empty $(dir $(CONFIG_EXAMPLE))

# Static, so that it runs on every distribution. Its messages name no path of this machine.
TARGET ?= $(shell uname -m)-unknown-linux-musl
STATIC := target/$(TARGET)/release
REMAP = --remap-path-prefix=$(CURDIR)=/synledger --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo
STATIC_FLAGS = CARGO_TARGET_$(shell tr a-z- A-Z_ <<<'$(TARGET)')_RUSTFLAGS='$(REMAP)'
DIST ?= target/dist

.PHONY: static
static:
	$(STATIC_FLAGS) $(CARGO) build --release --locked --target $(TARGET) -p synledger -p man

.PHONY: dist
dist: static ## Make static program, tarball, Debian package, image, bill of materials and sums in target/dist (rustup target add TARGET)
	$(STATIC)/man $(STATIC)/pages
	python3 packaging/dist.py --program $(STATIC)/synledger --man $(STATIC)/pages --target $(TARGET) --out $(DIST)

.PHONY: test
test: deps ## Install what the tests need (NO_INSTALL=1 skips that), then run them all (CAPTURES=DIR)
	SYNLEDGER_CAPTURES=$(abspath $(CAPTURES)) tools/run-tests

.PHONY: deps
deps:
	tools/install-test-deps

.PHONY: test-tools
test-tools: ## Test the oracle, the comparison and the test runner themselves
	cd tools/oracle && PYTHONDONTWRITEBYTECODE=1 python3 -m unittest -v
	cd tools && PYTHONDONTWRITEBYTECODE=1 python3 -m unittest -v

FLEET := target/fleet
.PHONY: test-fleet
test-fleet: ## Install the fleet's wheel and engines into target/fleet; every query on every engine against brute force (FLEET_ENGINES="… spark")
	tools/fleet/install $(FLEET) 'duckdb,chdb,spark'
	cd tools/fleet/tests && FLEET_ENGINES="$${FLEET_ENGINES-datafusion duckdb chdb spark}" $(abspath $(FLEET))/bin/python -B -m unittest -v

.PHONY: test-fleet-short
test-fleet-short: ## The same with DataFusion alone
	tools/fleet/install $(FLEET) ''
	cd tools/fleet/tests && FLEET_ENGINES=datafusion $(abspath $(FLEET))/bin/python -B -m unittest

.PHONY: test-packages
test-packages: ## Make and test what is given away: bytes, package and unit on a booted machine, image, Ansible role (as root)
	tools/install-test-deps packages
	rm -rf $(DIST) && $(MAKE) --no-print-directory dist
	cd packaging/tests && python3 -B -m unittest -v

.PHONY: test-corpus
test-corpus: build ## Compare frames, attempts and scans with the oracle over all captures, that with truth.csv, every log with its recorded hash; validate EVE; connections in tunnels (CAPTURES=DIR)
	rm -rf target/crafted && $(CARGO) run --release --locked -q -p craft -- scenarios --seed 1 --out target/crafted
	rm -rf target/probes && $(CARGO) run --release --locked -q -p craft -- scenarios --family probes --seed 1 --out target/probes
	rm -rf target/crowds && $(CARGO) run --release --locked -q -p craft -- scenarios --family crowds --seed 1 --out target/crowds
	python3 tools/oracle/oracle.py --truth $(CAPTURES)/truth.csv --cache target/oracle
	python3 tools/oracle/compare.py --binary $(BIN) --corpus $(CAPTURES) --crafted target/crafted --probes target/probes --cuts 64 --cut-dir target/cut --cache target/oracle
	python3 tools/oracle/logs.py --binary $(BIN) --corpus $(CAPTURES)
	python3 tools/oracle/eve_schema.py --binary $(BIN) --corpus $(CAPTURES) --crafted target/crafted target/probes target/crowds
	python3 tools/oracle/zeek.py --binary $(BIN) --corpus $(CAPTURES) --crafted target/crafted
	python3 tools/oracle/tunnels.py --binary $(BIN) --corpus $(CAPTURES)
	python3 tools/oracle/zeek_baselines.py --binary $(BIN) --corpus $(CAPTURES) $(if $(ZEEK),--zeek $(ZEEK))

.PHONY: test-parquet
test-parquet: build ## Query Parquet files of captures by DuckDB, DataFusion and chDB, from a folder and from Swift's S3; kill the writer at 50 moments (CAPTURES=DIR)
	python3 -m venv target/parquet-venv && target/parquet-venv/bin/pip install -q duckdb datafusion chdb pyarrow swift boto3
	$(MAKE) --no-print-directory parquet
	target/parquet-venv/bin/python tools/parquet/tests/engines.py --binary $(BIN) --corpus $(CAPTURES)
	target/parquet-venv/bin/python tools/parquet/tests/swift.py --away 5 18080 target/parquet-venv/bin/python tools/parquet/tests/engines.py --binary $(BIN) --corpus $(CAPTURES) --s3 http://127.0.0.1:18080
	SYNLEDGER_FUZZ=full $(CARGO) test --release --locked -p synledger-parquet -- --nocapture
	$(CARGO) run --release --locked -q -p synledger-parquet --example throughput

.PHONY: prove
prove: prove-asked build ## Count a capture's new connections by the sensor, by tshark and by a line of shell, and explain each difference (PCAP=FILE)
	@PYTHONDONTWRITEBYTECODE=1 python3 tools/oracle/prove.py --binary $(BIN) -- '$(PCAP)'

# Before anything is built.
.PHONY: prove-asked
prove-asked:
	@test -n '$(PCAP)' || { echo 'prove: which capture? make prove PCAP=FILE' >&2; exit 2; }

.PHONY: fuzz-corpus
fuzz-corpus: build ## Cut every capture 200 times, mutate 1,000,000 frames, hold memory to 10,000,000 SYNs, split 2,000 captures (CAPTURES=DIR)
	SYNLEDGER_CAPTURES=$(abspath $(CAPTURES)) SYNLEDGER_FUZZ=full $(CARGO) test --release --locked --test hostile --test memory --test splits -- --nocapture

.PHONY: fuzz-block
fuzz-block: ## Kill the block helper and its sensor 100 times, send it 1,000,000 messages (as root)
	SYNLEDGER_FUZZ=full $(CARGO) test --locked --test firewall -- --nocapture
	SYNLEDGER_FUZZ=full $(CARGO) test --locked --lib block::helper -- --nocapture

.PHONY: test-scanners
test-scanners: deps ## Scan and flood a host in namespaces with nmap, masscan, zmap and hping3; what detects them into target/tools.md (as root)
	@mkdir -p target && : >target/tools.md && rm -rf target/tools
	SYNLEDGER_TOOLS=$(abspath target/tools.md) SYNLEDGER_TOOLS_CAPTURES=$(abspath target/tools) $(CARGO) test --locked --test live -- --nocapture tools::
	@cat target/tools.md

.PHONY: compare-peers
compare-peers: test-scanners build ## Give crafted scans, benign traffic and those tools' scans to Suricata and psad, too; found, missed, false into target/peers.md (as root; ARGS='--results FILE')
	tools/install-test-deps peers
	rm -rf target/probes && $(CARGO) run --release --locked -q -p craft -- scenarios --family probes --seed 1 --out target/probes
	rm -rf target/benign && $(CARGO) run --release --locked -q -p craft -- benign --seed 1 --out target/benign
	python3 tools/oracle/peers.py --binary $(BIN) --probes target/probes --benign target/benign --tools target/tools --cache target/oracle $(ARGS) >target/peers.md
	@cat target/peers.md

.PHONY: race
race: ## Race the ring's hand-over under a checker; weakened orderings must fail
	tools/race

.PHONY: witness-fault
witness-fault: ## Load a build that loses one SYN in 10,000 until --witness finds it, and one that does not (as root)
	tools/witness-fault

.PHONY: bench
bench: ## Time decode, tables, shard and logger; each bench asserts its answers first
	$(CARGO) bench --locked

LOAD := $(SUDO) target/release/loadtest
# Floods of each load, rate and depth; seconds of one; scans hidden in a flood; measurements of the rest.
LOAD_FULL := RUNS=20 BOOKS_S=0.1 SCANS=50 ABREAST=25 PORTS=20 TIMES=5 TIME_S=5 DEPTHS=headers,control,full \
	COMPARE='--runs 5 --seconds 0.5 --loss 0.1' HARM='--pairs 30 --seconds 1' RINGS='--ring-mib 4,8,16,32,64,128,256'
LOAD_QUICK := RUNS=1 BOOKS_S=0.1 SCANS=4 ABREAST=4 PORTS=5 TIMES=1 TIME_S=2 DEPTHS=headers \
	SEARCH='--trial-seconds 0.3 --confirmations 1 --resolution 20 --loss 1' \
	SHORT_SEARCH='--trial-seconds 0.3 --confirmations 1 --resolution 20 --loss 1' \
	COMPARE='--runs 1 --seconds 0.3 --load syn --frames 100000' HARM='--pairs 1 --seconds 1' RINGS='--ring-mib 4,64 --block-kib 0 --workers 1 --seconds 0.3'
# Where a search gives only the rates at which something else is measured, it is a short one.
SHORT_SEARCH = --trial-seconds 0.3 --confirmations 2 --resolution 10
SEARCH = --trial-seconds 0.5 --confirmations 3 --resolution 5

.PHONY: load
load: ## Flood the sensor and its peers in namespaces of their own, three hours; figures into target/load (leave the machine alone)
	@$(MAKE) --no-print-directory load-with $(LOAD_FULL)

.PHONY: load-quick
load-quick: ## The same in ten minutes: shows that it works, its figures are no figures
	@$(MAKE) --no-print-directory load-with $(LOAD_QUICK)

.PHONY: load-deps
load-deps: deps ## Install what load tests compare with (Suricata, nfpcapd, nginx, …); starts none of it
	tools/install-test-deps load

.PHONY: load-build
load-build:
	$(CARGO) build --release --locked -p synledger -p loadtest

# Each goes on after one that failed, and the whole fails if one did.
.PHONY: load-with
load-with: load-deps load-build
	@$(LOAD) clean
	@failed=; run() { echo "== loadtest $$*"; $(LOAD) "$$@" || failed="$$failed $$1"; }; \
	run books --runs $(RUNS) --seconds $(BOOKS_S) --depth $(DEPTHS) $(SHORT_SEARCH); \
	run rings $(RINGS) $(SHORT_SEARCH); \
	run overload data --runs $(TIMES) --seconds $(TIME_S); \
	run overload syn --runs $(TIMES) --seconds $(TIME_S); \
	run hidden-scan --runs $(SCANS) --abreast $(ABREAST) --ports $(PORTS); \
	run latency --runs $(TIMES) --seconds $(TIME_S) $(SEARCH); \
	for load in syn bulk64 bulk1500 mix; do run search --load $$load --runs $(TIMES) $(SEARCH); done; \
	run compare $(COMPARE) $(SHORT_SEARCH); \
	run harm $(HARM); \
	run report; \
	[ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

.PHONY: bench-check
bench-check: ## Count instructions under valgrind: fails where a workload takes 3 % more than benches/instructions.csv says
	$(CARGO) bench --locked --bench instructions -- check

.PHONY: bench-record
bench-record: ## Write benches/instructions.csv anew, for a change that is meant to cost more
	$(CARGO) bench --locked --bench instructions -- record

.PHONY: load-results
load-results: load-build ## Take the figures of target/load into the repository, and write the tables of loadtest/RESULTS.md anew from them
	target/release/loadtest report --keep loadtest/results
	target/release/loadtest report --from loadtest/results --results loadtest/RESULTS.md

REPLAY_LOAD ?= mix
REPLAY_FRAMES ?= 300000
.PHONY: flood
flood: load-build ## Write a capture for tools/replay: target/flood.pcap (REPLAY_LOAD=mix, REPLAY_FRAMES=300000)
	target/release/loadtest flood --load $(REPLAY_LOAD) --frames $(REPLAY_FRAMES) --write target/flood.pcap >/dev/null

SCRIPTS := .ci/run packaging/tests/boot $(addprefix packaging/debian/,postinst postrm prerm) \
	$(addprefix packaging/cloud/codedeploy/,install start validate) tools/as-root tools/fleet/install tools/install-test-deps tools/race tools/replay tools/run-tests tools/witness-fault
.PHONY: check
check: ## What CI holds against us: format, lints, docs, tidy, licences; warnings are errors
	@if $(CARGO) fmt --version >/dev/null 2>&1; then set -x; $(CARGO) fmt --all --check; \
	else echo "skipped: format: rustfmt is not installed (rustup component add rustfmt)"; fi
	@if $(CARGO) clippy --version >/dev/null 2>&1; then set -x; $(CARGO) clippy --workspace --all-targets --locked -- -D warnings; \
	else echo "skipped: lints: clippy is not installed (rustup component add clippy)"; fi
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --locked --workspace
	$(CARGO) test --locked --test tidy
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); else echo "skipped: scripts: shellcheck is not installed"; fi
	@if command -v cargo-deny >/dev/null; then cargo deny --offline check bans licenses sources; else echo "skipped: cargo-deny is not installed"; fi

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean
