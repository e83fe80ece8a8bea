# modelmon: `make help` says what there is. Objects are out of tree: build/{rel,san,fuzz}, binaries build/bin.
# Sources are found, not listed: common/*/*.c, services/<name>/*.c, tests/{unit,contract,bench}/*.c, tests/fuzz/fuzz_*.c.
# One broken file: `make -k` shows every error; `make LAX=1 ...` leaves the broken objects out of the library.
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:
ifeq ($(origin CC),default)
CC := gcc
endif
CCACHE := $(shell command -v ccache)
tool := $(if $(filter-out gcc,$(CC)),-$(notdir $(CC)))
REL := build/rel$(tool)
BIN := build/bin$(tool)
SAN := build/san
FUZZ := build/fuzz
CHAOS := build/chaos# the services with places to crash at (base/crash.h)
SIM := build/sim$(tool)# the services in one process, in virtual time
FUZZ_CC ?= clang-14
DUCKDB ?= .deps/duckdb# lib/ and include/; the programs look for the library in $(RPATH)
RPATH ?= $(realpath $(DUCKDB)/lib)

# --- flags: OpenSSF's hardening for what is shipped; FORTIFY and auto-init would hide findings in the others ---
WARN := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wformat=2 -Wmissing-prototypes -Wvla -Werror
THIRD = -isystem $(DUCKDB)/include -isystem /usr/include/cjson -isystem /usr/include/postgresql
BASE = -std=c11 -D_GNU_SOURCE -g -fno-strict-aliasing -Icommon -Iservices $(TESTS) $(THIRD) $(WARN)
HARD := -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection \
    -fcf-protection=full -ftrivial-auto-var-init=zero -fPIE -Werror=format-security
ifneq ($(findstring clang,$(CC)),)
HARD += -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang
endif
SANS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
$(REL)/%: FLAGS = $(CC) $(BASE) $(HARD)
$(SAN)/%: FLAGS = gcc $(BASE) -O1 $(SANS)
$(FUZZ)/%: FLAGS = $(FUZZ_CC) $(BASE) -O1 $(SANS) -fsanitize=fuzzer-no-link
$(CHAOS)/%: FLAGS = gcc $(BASE) $(HARD) -DMM_CRASH_POINTS -fno-omit-frame-pointer -fno-optimize-sibling-calls
$(foreach v,$(REL) $(SAN) $(FUZZ),$(eval $v/tests/%: TESTS = -Itests -Itests/support))
LIBS = -Wl,--as-needed -lmicrohttpd -lgnutls -lcurl -lcjson -lhiredis -lrdkafka -lpq -lsqlite3 -lcrypto \
    -L$(DUCKDB)/lib -Wl,-rpath,$(RPATH) -lduckdb -lm -lpthread
LINK_REL := $(CC) -pie -Wl,-z,relro,-z,now,-z,noexecstack
LINK_SAN := gcc $(SANS)
LINK_CHAOS := gcc -pie -Wl,-z,relro,-z,now,-z,noexecstack
LINK_FUZZ := $(FUZZ_CC) $(SANS) -fsanitize=fuzzer

BUILD = $(MAKE) --no-print-directory -j$(shell nproc)# once setup has run: what it brings is looked up anew

# --- what there is ---
common := $(wildcard common/*/*.c)
services := $(patsubst services/%/main.c,%,$(wildcard services/*/main.c))
unit := $(patsubst %.c,%,$(wildcard tests/unit/test_*.c))
contract := $(patsubst %.c,%,$(wildcard tests/contract/test_*.c))
fuzzers := $(patsubst %.c,%,$(wildcard tests/fuzz/fuzz_*.c))
bench := $(patsubst %.c,%,$(wildcard tests/bench/bench_*.c))
support := $(wildcard tests/support/*.c)# what test programs share, linked where used
helpers := $(filter-out $(patsubst %,%.c,$(unit) $(contract) $(bench)),$(wildcard tests/unit/*.c tests/contract/*.c \
    tests/bench/*.c))# what those of one folder share
migrations := $(wildcard common/db/migrations/*.sql)
migrations_sqlite := $(wildcard common/db/migrations/sqlite/*.sql)
assets := $(sort $(foreach f,$(wildcard services/*/assets/*),$(word 2,$(subst /, ,$f))))
objs = $(patsubst %,$1/%.o,$(common:.c=) $(if $(migrations),build/gen/migrations) \
    $(if $(migrations_sqlite),build/gen/migrations_sqlite))

.PHONY: help all sim sim-program chaos-programs demo test test-unit test-contract test-service test-e2e test-deep test-deploy chaos chaos-mutants chaos-release up down bench fuzz \
    fmt lint check clean setup programs unit contract bench-programs fuzzers tidy

help: ## this text
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

# The one place where a version comes from: scripts/version, or `make VERSION=...`.
$(if $(filter-out help setup clean,$(MAKECMDGOALS)),$(shell VERSION='$(VERSION)' scripts/version build/gen/version.c))

ifeq ($(wildcard $(DUCKDB)/lib/libduckdb.so),)
$(if $(filter-out help setup demo test% chaos% sim up down bench fuzz clean,$(MAKECMDGOALS)),$(warning run `make setup` first))
endif
all: $(services:%=$(BIN)/%) ## the services, in build/bin
programs: all unit contract bench-programs fuzzers sim-program ## the services and every test program
unit: $(unit:%=$(SAN)/%)
contract: $(contract:%=$(REL)/%)
bench-programs: $(bench:%=$(REL)/%)
fuzzers: $(fuzzers:%=$(FUZZ)/%)
sim-program: $(SIM)/sim
chaos-programs: all sim-program $(services:%=$(CHAOS)/bin/%) $(CHAOS)/faultio.so $(CHAOS)/faultclock.so

setup: ## install what is missing (apt, Kafka, DuckDB, Python packages)
	@scripts/setup
demo: ## the whole story on this machine: data in, drift found, a page to look at
	@scripts/setup --for demo
	@$(BUILD) $(BIN)/modelmon
	@$(BIN)/modelmon demo
test: setup ## every stage: what .ci/run runs
	@tests/run
test-unit: setup ## unit tests under ASan and UBSan
	@tests/run unit
test-contract: setup ## the seams against real Kafka, PostgreSQL, Redis
	@tests/run contract
test-service: setup ## each binary as a black box, with kill -9
	@tests/run service
test-e2e: setup ## MLRun's own code in, results out
	@tests/run e2e
test-deep: setup ## long: contract tests under sanitizers, fuzzing, the full benchmarks
	@tests/run deep
chaos: setup ## faults under load, judged from outside: TESTS=K1,K4 N=20 SEED=s TARGET=stack|embedded
	@$(BUILD) chaos-programs
	@.venv/bin/python tests/chaos/run --tests "$(TESTS)" --target "$(or $(TARGET),both)" -n "$(or $(N),0)" --seed "$(SEED)"
sim: setup ## the services in one process and virtual time, SEEDS=20000 of it; called again for the same commit it goes on
	@$(BUILD) sim-program
	@$(SIM)/sim --seeds="$(or $(SEEDS),20000)" --from="$(or $(FROM),1)" --jobs="$$(nproc)" \
	    --state="$(SIM)/$$(scripts/version).from-$(or $(FROM),1)"
chaos-release: setup ## the figures of a release in pieces, MINUTES=150 at a time, recorded in tests/chaos/RESULTS.md
	@$(BUILD) chaos-programs
	@.venv/bin/python tests/chaos/release $(MINUTES)
chaos-mutants: setup ## the chaos tests' own test: patches that break a promise, each must be caught
	@.venv/bin/python tests/chaos/mutants/run $(MUTANTS)
test-deploy: setup ## containers and chart on a real engine
	@tests/run deploy
up: setup ## a development stack and the services on loopback
	@$(BUILD) all
	@scripts/dev up
down: ## end it
	@scripts/dev down
bench: setup ## benchmarks with their bars, as JSON lines
	@$(BUILD) all bench-programs
	@scripts/bench
fuzz: setup ## each fuzz target for FUZZ_SECONDS (60), or until FUZZ_RUNS inputs have been tried
	@$(BUILD) fuzzers
	@scripts/fuzz
fmt: ## format the C files
	@find common services tests -name '*.[ch]' -print0 | xargs -0 clang-format-14 -i
lint: ## layers, headers, banned functions, format, shell scripts, gcc and clang builds
	@scripts/lint
check: lint ## lint and unit tests
	@tests/run unit
clean: ## end the services of `make up`, delete build/ with their data
	@[ ! -d build/dev ] || scripts/dev wipe
	rm -rf build

# --- rules ---
# Everything is written beside its place and moved there: two makes at once, or a running binary, do no harm.
# With LAX=1 a file that does not compile is left out of the library, with a line that says so.
comma := ,
into = t=$@.$$$$; $1 -o $$t $2 && mv -f $$t $@ || { rm -f $$t; $(or $3,exit 1); }
lax = $(if $(LAX),rm -f $@; echo "LAX: $< left out")
compile = @mkdir -p $(@D); echo "  CC $@"; $(call into,$(CCACHE) $(FLAGS) -MMD -MP -MF $(@:.o=.d) -MT $@ -c,$<,$(lax))
archive = @t=$@.$$$$; rm -f $$t; ar rcs $$t $(if $(LAX),$$(ls $^ 2>/dev/null),$^) && mv -f $$t $@
link = @mkdir -p $(@D); echo "  LD $@"; $(call into,$1,$^ $2 $(LIBS))
define variant
$1/build/gen/%.o: build/gen/%.c
	$$(compile)
$1/%.o: %.c
	$$(compile)
$1/libmodelmon.a: $(call objs,$1)
	$$(archive)
$1/libsupport.a: $(support:%.c=$1/%.o)
	$$(archive)
endef
$(eval $(call variant,$(REL)))
$(eval $(call variant,$(SAN)))
$(eval $(call variant,$(FUZZ)))
$(eval $(call variant,$(CHAOS)))

# $(call inner,VARIANT,SERVICE): a service's objects without main, for tests named after it: test_<service>_*.c.
inner = $(patsubst %.c,$1/%.o,$(filter-out %/main.c,$(wildcard services/$2/*.c))) \
    $(if $(filter $2,$(assets)),$1/build/gen/assets_$2.o)
# modelmon is all of them in one.
others = $(if $(filter modelmon,$2),$(foreach s,$(filter-out modelmon,$(services)),$(call inner,$1,$s)))

# A service: its own objects and what it needs of the library. $(call service,NAME,PLACE,VARIANT,LINK)
define service
$2/$1: $(patsubst %.c,$3/%.o,$(wildcard services/$1/*.c)) \
        $(if $(filter $1,$(assets)),$3/build/gen/assets_$1.o) $(call others,$3,$1) $3/build/gen/version.o \
        $3/libmodelmon.a
	$$(call link,$$($4))
endef
$(foreach s,$(services),$(eval $(call service,$s,$(BIN),$(REL),LINK_REL)))
$(foreach s,$(services),$(eval $(call service,$s,$(CHAOS)/bin,$(CHAOS),LINK_CHAOS)))
$(CHAOS)/%.so: tests/chaos/%.c
	@mkdir -p $(@D); echo "  LD $@"; $(call into,gcc -std=c11 -D_GNU_SOURCE -g -O1 $(WARN) -fPIC -shared,$< -ldl)

of_service = $(foreach s,$(services),$(if $(filter $2_$(subst -,_,$s) $2_$(subst -,_,$s)_%,$(notdir $3)),$(call inner,$1,$s) $(call others,$1,$s)))
# $(call program,VARIANT,KIND,PREFIX,LINK,NAME): a program of tests/KIND, with what that folder shares.
define program
$1/$5: $1/$5.o $(patsubst %.c,$1/%.o,$(filter tests/$2/%,$(helpers))) $(call of_service,$1,$3,$5) \
        $(if $(support),$1/libsupport.a) $1/libmodelmon.a
	$$(call link,$$($4),-lcmocka)
endef
$(foreach p,$(unit),$(eval $(call program,$(SAN),unit,test,LINK_SAN,$p)))
$(foreach p,$(contract),$(eval $(call program,$(REL),contract,test,LINK_REL,$p)))
$(foreach p,$(contract),$(eval $(call program,$(SAN),contract,test,LINK_SAN,$p)))
$(foreach p,$(bench),$(eval $(call program,$(REL),bench,bench,LINK_REL,$p)))
$(foreach p,$(fuzzers),$(eval $(call program,$(FUZZ),fuzz,fuzz,LINK_FUZZ,$p)))

# The simulation: where it has a function of the library too (clock, worker, a bus, a database, metrics), its own counts.
sim_services := $(foreach s,stream controller writer,$(filter-out %/main.c,$(wildcard services/$s/*.c)))
$(SIM)/libservices.a: $(sim_services:%.c=$(REL)/%.o)
	@mkdir -p $(@D)
	$(archive)
$(SIM)/sim: $(patsubst %.c,$(REL)/%.o,$(wildcard tests/sim/*.c)) $(SIM)/libservices.a $(REL)/libmodelmon.a
	$(call link,$(LINK_REL) -Wl$(comma)-z$(comma)muldefs$(comma)--wrap=getrandom$(comma)--wrap=_exit)

# Files as bytes; the folder's own header declares them.
build/gen/migrations.c: $(migrations) scripts/embed
	@mkdir -p $(@D); HEADER=db/driver.h scripts/embed migrations migrations_postgres $(migrations) > $@
build/gen/migrations_sqlite.c: $(migrations_sqlite) scripts/embed
	@mkdir -p $(@D); HEADER=db/driver.h scripts/embed migrations migrations_sqlite $(migrations_sqlite) > $@
define asset
build/gen/assets_$1.c: $(sort $(wildcard services/$1/assets/*)) scripts/embed
	@mkdir -p $$(@D); $(if $(wildcard services/$1/assets.h),HEADER=$1/assets.h) scripts/embed assets $(subst -,_,$1)_assets $(sort $(wildcard services/$1/assets/*)) > $$@
endef
$(foreach s,$(assets),$(eval $(call asset,$s)))

-include $(shell find build -name '*.d' 2>/dev/null)
