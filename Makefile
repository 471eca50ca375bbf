# SPDX-License-Identifier: MIT
#
# `make help` lists the targets. One build: every library below is required; `make deps` installs them.
#
# Sources are found by folder: everything under lib/, and every file of a program except its main.c,
# goes into one archive; programs, tests and benchmarks link what they use of it (--as-needed keeps
# unused client libraries out of a program). So a new file needs no line here.

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

VERSION := 0.1.0

# SANITIZE=address,undefined or SANITIZE=thread: own build folder, same tests.
SANITIZE ?=
comma := ,
ifeq ($(SANITIZE),)
MODE := release
else
MODE := $(subst $(comma),-,$(SANITIZE))
SANFLAGS := -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
O ?= build
B := $(O)/$(MODE)

CC := gcc
CLANG := clang-14
CLANG_FORMAT := clang-format-14
CLANG_TIDY := clang-tidy-14
CPPFLAGS := -D_GNU_SOURCE -Ilib/include -I$(O)/gen
CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wvla \
	-Wformat=2 -Wundef -Wpointer-arith -Wno-missing-field-initializers
ifeq ($(WERROR),1)
WARN += -Werror
endif
ALL_CFLAGS = -std=gnu17 $(WARN) $(CFLAGS) $(SANFLAGS) -pthread -fno-common
LDLIBS := -Wl,--as-needed -lpaho-mqtt3as -levent_core -levent_extra -levent_pthreads -levent_openssl -lssl -lcrypto -lsodium -lhiredis -lpq -lrdkafka -lyaml \
	-lxxhash -lpcre2-8 -lcurl -lm -pthread
# lib/core/tsan_c11.c, which only librdkafka refers to.
ifeq ($(SANITIZE),thread)
LDLIBS += -Wl,-u,thrd_create
endif
PGINCLUDE := /usr/include/postgresql
CPPFLAGS += -isystem $(PGINCLUDE)

Q := $(if $(V),,@)

PROGS := latido-agent latido-bridge latido-load latido-hot latido-store latido-live latido-alert latido
latido-agent_MAIN := producers/agent/main.c
latido-load_MAIN := producers/load/main.c
latido-hot_MAIN := consumers/hot/main.c
latido-store_MAIN := consumers/store/main.c
latido-alert_MAIN := consumers/alert/main.c
latido-live_MAIN := consumers/live/main.c
latido-bridge_MAIN := producers/bridge/main.c
latido_MAIN := consumers/cli/main.c

# kmod/fmt.c and ring.c are pure: they run in user-space tests too.
LIB_SRCS := $(wildcard lib/*/*.c) kmod/fmt.c kmod/ring.c \
	$(filter-out %/main.c,$(wildcard producers/*/*.c consumers/*/*.c))
MAIN_SRCS := $(foreach p,$(PROGS),$(wildcard $($(p)_MAIN)))
# Files that are compiled in (migrations, Redis functions): .incbin in lib/sink/embed_*.S.
ASM_SRCS := $(wildcard lib/*/*.S)
UNIT_SRCS := $(wildcard tests/unit/*_test.c)
CONTRACT_SRCS := $(wildcard tests/contract/*_test.c)
SUPPORT_SRCS := $(wildcard tests/support/*.c)
BENCH_SRCS := $(wildcard tests/bench/*_bench.c)
# Programs that integration tests talk to: a C interface on standard input and output.
TOOL_SRCS := $(wildcard tests/tools/*.c)
FUZZ_SRCS := $(wildcard tests/fuzz/*_fuzz.c)

objs = $(patsubst %.S,$(B)/%.o,$(patsubst %.c,$(B)/%.o,$(1)))
LIB_OBJS := $(call objs,$(LIB_SRCS) $(ASM_SRCS)) $(B)/gen/web_assets.o
ARCHIVE := $(B)/liblatido.a
# An archive too, so that a test links only the helpers that it uses.
SUPPORT := $(B)/libsupport.a
# A program whose main.c is not there is not built: main.c is what makes it one.
HAVE_PROGS := $(foreach p,$(PROGS),$(if $(wildcard $($(p)_MAIN)),$(p)))
BINS := $(HAVE_PROGS:%=$(B)/bin/%)
UNIT_BINS := $(UNIT_SRCS:tests/unit/%.c=$(B)/unit/%)
CONTRACT_BINS := $(CONTRACT_SRCS:tests/contract/%.c=$(B)/contract/%)
BENCH_BINS := $(BENCH_SRCS:tests/bench/%.c=$(B)/bench/%)
TOOL_BINS := $(TOOL_SRCS:tests/tools/%.c=$(B)/tools/%)
# Fuzz targets are libFuzzer's: clang, with AddressSanitizer and UndefinedBehaviorSanitizer always.
FB := $(O)/fuzz
FUZZ_BINS := $(FUZZ_SRCS:tests/fuzz/%.c=$(FB)/bin/%)
FUZZ_FLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all

.PHONY: all
all: $(BINS) ## Build all programs into build/release/bin

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $<")
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/%.o: %.S
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -c -o $@ $<

# The live view's page: what consumers/live/web builds, or else the plain one beside the server.
-include consumers/live/web/rules.mk
WEB_STAMP := $(if $(wildcard consumers/live/web/rules.mk),$(O)/web/.stamp)
WEB_DIR := $(if $(WEB_STAMP),$(O)/web,consumers/live/builtin)
$(O)/gen/web_assets.c: infra/web/embed.sh $(WEB_STAMP) $(wildcard consumers/live/builtin/*)
	@mkdir -p $(@D)
	$(Q)infra/web/embed.sh $(WEB_DIR) > $@
$(B)/gen/web_assets.o: $(O)/gen/web_assets.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -I. $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
$(O)/fuzz/gen/web_assets.o: $(O)/gen/web_assets.c
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) -I. -std=gnu17 -O1 -g -c -o $@ $<

EMBEDDED := $(wildcard schemas/sql/*.sql schemas/redis/*.lua)
$(patsubst %.S,$(B)/%.o,$(ASM_SRCS)) $(patsubst %.S,$(O)/fuzz/%.o,$(ASM_SRCS)): $(EMBEDDED)

$(O)/gen/version.h: FORCE
	@mkdir -p $(@D)
	@c=$$(git rev-parse --short=9 HEAD 2>/dev/null || echo unknown); \
	printf '#define LT_VERSION "%s"\n#define LT_COMMIT "%s"\n' $(VERSION) "$$c" > $@.new; \
	if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
$(B)/lib/core/version.o $(FB)/lib/core/version.o: $(O)/gen/version.h
.PHONY: FORCE
FORCE:

$(ARCHIVE): $(LIB_OBJS)
	$(if $(V),,@echo "  AR      $@")
	$(Q)rm -f $@ && ar qcs $@ $^

$(SUPPORT): $(call objs,$(SUPPORT_SRCS))
	$(Q)rm -f $@ && ar qcs $@ $^

define prog_rule
$(B)/bin/$(1): $$(call objs,$$($(1)_MAIN)) $(ARCHIVE)
	@mkdir -p $$(@D)
	$$(if $$(V),,@echo "  LD      $$@")
	$$(Q)$(CC) $(ALL_CFLAGS) -o $$@ $$^ $(LDLIBS)
endef
$(foreach p,$(HAVE_PROGS),$(eval $(call prog_rule,$(p))))

$(B)/unit/%: $(B)/tests/unit/%.o $(SUPPORT) $(ARCHIVE)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(LDLIBS) -lcmocka
$(B)/contract/%: $(B)/tests/contract/%.o $(SUPPORT) $(ARCHIVE)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(LDLIBS) -lcmocka
$(B)/tools/%: $(B)/tests/tools/%.o $(SUPPORT) $(ARCHIVE)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(LDLIBS)
$(B)/bench/codec_bench: LDLIBS += -lz
$(B)/bench/%: $(B)/tests/bench/%.o $(SUPPORT) $(ARCHIVE)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

FUZZ_LIB_OBJS := $(patsubst %.c,$(FB)/%.o,$(LIB_SRCS)) $(patsubst %.S,$(FB)/%.o,$(ASM_SRCS)) $(FB)/gen/web_assets.o
$(FB)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) -std=gnu17 -O1 -g $(FUZZ_FLAGS) -pthread -MMD -MP -c -o $@ $<
$(FB)/%.o: %.S
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) -c -o $@ $<
$(FB)/liblatido.a: $(FUZZ_LIB_OBJS)
	$(Q)rm -f $@ && ar qcs $@ $^
$(FB)/bin/%: $(FB)/tests/fuzz/%.o $(FB)/liblatido.a
	@mkdir -p $(@D)
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -pthread -o $@ $^ $(LDLIBS)

# What needs Apache Kafka; the others do without its jars.
KAFKA_BENCHES := ingest memory bridge
.PHONY: bench
ifeq ($(BENCH),help)
bench:
	@/usr/bin/python3 tests/bench/run.py help
else
bench: ## Benchmarks beside ceilings and peers, into bench.json; BENCH="store codec" for some (BENCH=help), ROUNDS=, SECONDS=
	infra/deps.sh build demo test $(if $(BENCH),$(if $(filter agent,$(BENCH)),bench),bench)
	$(MAKE) --no-print-directory all bench-bin tools-bin \
		$(if $(if $(BENCH),$(filter $(KAFKA_BENCHES),$(BENCH)),all),kafka-jars)
	LATIDO_BIN=$(B)/bin /usr/bin/python3 tests/bench/run.py $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(BENCH)
endif

# Breaks everything at random (tests/fault/fault.py); SEED=... replays, FAULTS=... says how often,
# BUS=kafka: agents publish to Kafka, BUS=bridge: through latido-bridge.
.PHONY: test-fault soak
FAULT_JARS = $(if $(filter kafka bridge,$(BUS)),kafka-jars)
test-fault: all $(FAULT_JARS) ## Kill, stop, cut, fill and set back everything for a few minutes; prove that nothing is lost
	LATIDO_BIN=$(B)/bin /usr/bin/python3 tests/fault/fault.py --faults $(or $(FAULTS),30) --bus $(or $(BUS),mqtt)
soak: all $(FAULT_JARS) ## The same for long, with 100 agents (FAULTS=500)
	LATIDO_BIN=$(B)/bin /usr/bin/python3 tests/fault/fault.py --faults $(or $(FAULTS),500) --agents 100 \
		--interval 1000 --bus $(or $(BUS),mqtt)

.PHONY: tests-bin fuzz-bin bench-bin tools-bin
tests-bin: $(UNIT_BINS) $(CONTRACT_BINS)
fuzz-bin: $(FUZZ_BINS)
bench-bin: $(BENCH_BINS)
tools-bin: $(TOOL_BINS)
.SECONDARY:

.PHONY: format check-format
C_FILES = $(shell git ls-files -co --exclude-standard '*.c' '*.h')
format: ## Format all C files
	$(CLANG_FORMAT) -i $(C_FILES)
check-format: ## Fail when a C file is not formatted
	$(CLANG_FORMAT) --dry-run -Werror $(C_FILES)

# Lint: a file is looked at again when its object would be compiled again, or the rules changed.
.PHONY: lint lint-tidy lint-sh lint-python lint-yaml check-headers
LINT_SRCS := $(LIB_SRCS) $(MAIN_SRCS) $(UNIT_SRCS) $(CONTRACT_SRCS) $(SUPPORT_SRCS) $(BENCH_SRCS) $(TOOL_SRCS) \
	$(FUZZ_SRCS) infra/doc/confdoc.c
lint: lint-tidy lint-sh lint-python lint-yaml ## Run every linter (also: lint-tidy, ...)

lint-tidy: $(LINT_SRCS:%.c=$(O)/lint/tidy/%.ok)
$(O)/lint/tidy/tests/fuzz/%.ok: tests/fuzz/%.c $(FB)/tests/fuzz/%.o .clang-tidy
	$(tidy)
$(O)/lint/tidy/%.ok: %.c $(B)/%.o .clang-tidy
	$(tidy)
define tidy
@mkdir -p $(@D)
$(if $(V),,@echo "  TIDY    $<")
$(Q)$(CLANG_TIDY) --quiet --warnings-as-errors='*' $< -- $(CPPFLAGS) -std=gnu17 2>$@.log || { cat $@.log; exit 1; }
@touch $@
endef

SH_FILES = $(shell git ls-files -co --exclude-standard '*.sh' .ci/run)
PY_FILES = $(shell git ls-files -co --exclude-standard '*.py')
YAML_FILES = $(filter-out tests/data/%,$(shell git ls-files -co --exclude-standard '*.yaml' '*.yml'))
lint-sh:
	shellcheck $(SH_FILES)
lint-python:
	/usr/bin/python3 -m pyflakes $(PY_FILES)
lint-yaml:
	yamllint --strict -c tests/support/yamllint.yaml $(YAML_FILES)

check-headers: ## Compile each public header alone
	@for h in $(wildcard lib/include/latido/*.h); do \
		printf '#include "%s"\n' "$${h#lib/include/}" | \
			$(CC) $(CPPFLAGS) -std=gnu17 $(WARN) -Werror -fsyntax-only -x c - || exit 1; \
	done

.PHONY: deps demo test test-unit test-integration fuzz
deps: ## Install the Debian packages that are missing
	infra/deps.sh

demo: ## Run everything privately on this machine and watch it; DEMO_SECONDS=20 for a summary, BUS=kafka for Kafka
	infra/deps.sh build demo
	$(MAKE) --no-print-directory all $(if $(filter kafka,$(BUS)),kafka-jars)
	infra/demo/demo.py

# Apache Kafka for tests and the demo, once; infra/kafka/pom.xml names the release.
.PHONY: kafka-jars
kafka-jars: $(O)/kafka/.complete ## Copy the jars of Apache Kafka into build/kafka
$(O)/kafka/.complete: infra/kafka/pom.xml
	infra/deps.sh kafka
	rm -rf $(@D)
	mvn -B -q -f $< dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(abspath $(@D))
	@touch $@

test: ## Build and run all tests; SUITE="unit fuzz" for some (SUITE=help lists them)
	infra/deps.sh
	tests/run.py $(SUITE)
test-unit: ## Unit and contract tests on the three builds
	tests/run.py unit contract
test-integration: ## Integration tests on the release build
	tests/run.py integration-release
fuzz: ## Run each fuzz target for FUZZ_SECONDS (15)
	tests/run.py fuzz

include infra/doc/rules.mk
include kmod/rules.mk

.PHONY: clean
clean: ## Remove build/
	rm -rf $(O)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z][a-zA-Z-]*:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | sort | expand -t 20

# build/kmod has a kernel's tree in it.
-include $(shell find $(O) -path $(O)/kmod -prune -o -type f -name '*.d' -print 2>/dev/null)
