# SPDX-License-Identifier: ISC
# GNU make. Everything built goes to priv/, ebin/, doc/ and $(BUILD).
BUILD ?= build
PORT ?= priv/erlxc
PREFIX ?= /usr/local
VERSION := $(shell sed -n 's/^.define ERLXC_VERSION "\(.*\)"/\1/p' erlxc.h)
APPDIR = $(DESTDIR)$(PREFIX)/lib/erlang/lib/erlxc-$(VERSION)

SRC = erlxc.c worker.c start.c log.c guardian.c stream.c watch.c codec.c args.c \
	lxcops.c lxclist.c lxcdisk.c lxclive.c notify.c config.c cgroup.c monitor.c ns.c
HDR = erlxc.h port.h codec.h
OBJ = $(SRC:%.c=$(BUILD)/%.o) $(SAN:%=$(BUILD)/sanitize.o)
ERL = $(sort $(wildcard erl/*.erl))
BEAM = $(ERL:erl/%.erl=ebin/%.beam)
TESTS = $(patsubst t/%.c,$(BUILD)/%,$(filter-out t/sanitize.c t/replay.c \
	%_fuzz.c,$(wildcard t/*.c))) \
	$(patsubst t/%_fuzz.c,$(BUILD)/%_replay,$(wildcard t/*_fuzz.c)) \
	$(patsubst t/probe/%.c,$(BUILD)/probe/%,$(wildcard t/probe/*.c))
FUZZERS = $(patsubst t/%.c,$(BUILD)/fuzz/%,$(wildcard t/*_fuzz.c))
BENCH = $(patsubst t/%.c,$(BUILD)/%,$(wildcard t/bench/*.c))

# liblxc: LXC=1, LXC=0, or what pkg-config finds.
PKG_CONFIG ?= pkg-config
LXC ?= $(shell $(PKG_CONFIG) --exists lxc 2>/dev/null && echo 1 || echo 0)
ifneq ($(strip $(LXC)),0)
LXC_CPPFLAGS := -DHAVE_LXC $(shell $(PKG_CONFIG) --cflags lxc)
LXC_LIBS := -ldl
endif
EI = $(shell erl -noshell -eval \
	'io:put_chars(code:lib_dir(erl_interface)), halt().')

# The user's CFLAGS, CPPFLAGS and LDFLAGS come last, so that they win.
# SAN=1 is the build under AddressSanitizer and UBSan that CI runs.
CFLAGS ?= -O2 -g
try = $(shell $(CC) -Werror $(1) -x c -c -o /dev/null /dev/null 2>&1 || echo no)
WARN = -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes \
	-Wformat=2 -Wswitch-enum -Wpointer-arith -Wcast-align -Wundef \
	-Wwrite-strings -Wvla -Wnull-dereference \
	-Wno-missing-field-initializers $(WERROR:1=-Werror)
ifdef SAN
HARDEN = -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
else
HARDEN = -fstack-protector-strong -fPIE $(foreach f,-fstack-clash-protection \
	-fcf-protection,$(if $(call try,$(f)),,$(f)))
FORTIFY = $(if $(filter-out -O0,$(lastword $(filter -O%,$(CFLAGS)))),\
	-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
LINK = -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed
endif
HARDEN := $(HARDEN)
COMPILE = $(CC) -std=gnu11 $(WARN) $(HARDEN) -D_GNU_SOURCE -I. \
	$(LXC_CPPFLAGS) $(FORTIFY) $(CPPFLAGS) $(CFLAGS)
LINKED = $(COMPILE) $(LINK) $(LDFLAGS)

all: port erl
port: $(PORT)
erl: $(BEAM) ebin/erlxc.app
tests: $(TESTS)
$(PORT): $(OBJ)
	@mkdir -p $(@D)
	$(LINKED) -o $@ $(OBJ) $(LXC_LIBS)
$(OBJ): $(HDR) $(BUILD)/flags
$(BUILD)/%.o: %.c
	$(COMPILE) -c -o $@ $<
$(BUILD)/sanitize.o: t/sanitize.c
	$(COMPILE) -DSAN_LOG='"$(abspath $(BUILD))/san"' -c -o $@ $<
# Other flags than the last time: all is built again.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(COMPILE) $(LINK) $(LDFLAGS)' | cmp -s - $@ || \
		echo '$(COMPILE) $(LINK) $(LDFLAGS)' >$@

ebin/%.beam: erl/%.erl
	@mkdir -p ebin
	erlc +debug_info $(WERROR:1=-Werror) -pa ebin -o ebin $<
comma := ,
ebin/erlxc.app: erl/erlxc.app.src $(ERL)
	@mkdir -p ebin
	sed 's/{modules, *\[[^]]*\]}/{modules, [$(subst $() ,$(comma),$(strip \
		$(ERL:erl/%.erl=%)))]}/' erl/erlxc.app.src >$@

# Test programs: the file, with what it includes, and the codec.
$(TESTS) $(FUZZERS): $(wildcard t/*.h) cgroup.c $(HDR)
$(BUILD)/%: t/%.c $(BUILD)/codec.o $(SAN:%=$(BUILD)/sanitize.o)
	@mkdir -p $(@D)
	$(LINKED) -o $@ $(filter t/%.c %.o,$^) $(TEST_LIBS)
$(BUILD)/%_replay: t/%_fuzz.c t/replay.c $(BUILD)/codec.o \
		$(SAN:%=$(BUILD)/sanitize.o)
	$(LINKED) -o $@ $(filter t/%.c %.o,$^)
# Probes run in containers, which have no libraries.
$(BUILD)/probe/%: t/probe/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(WARN) -D_GNU_SOURCE -O2 -static -o $@ $<
$(BUILD)/codec_test: private TEST_LIBS = -Wl,--wrap=realloc
$(BUILD)/bench/codec_bench: private CPPFLAGS += -I$(EI)/include
$(BUILD)/bench/codec_bench: private TEST_LIBS = -L$(EI)/lib -lei -lpthread
$(BUILD)/fuzz/%: t/%.c codec.c $(HDR)
	@mkdir -p $(@D)
	clang -std=gnu11 -D_GNU_SOURCE -I. -g -O1 -o $@ t/$*.c codec.c \
		-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all

# liblxc is not to be had as a static library, so this port is without it.
STATIC_CC ?= $(if $(shell command -v musl-gcc),musl-gcc,$(CC))
static:
	$(MAKE) port LXC=0 BUILD=$(BUILD)/static CC=$(STATIC_CC) LINK=-static \
		CPPFLAGS='$(CPPFLAGS) $(if $(findstring musl,$(STATIC_CC)),\
		-idirafter /usr/include -idirafter \
		/usr/include/$(shell $(CC) -print-multiarch))'

deps:
	t/deps.sh $(or $(DEPS),build)
demo:
	@t/deps.sh build run
	@$(MAKE) --no-print-directory all
	@escript t/demo.escript
check:
	@t/deps.sh build run check
	@$(MAKE) --no-print-directory all tests
	@BUILD=$(BUILD) PORT=$(PORT) t/check.sh $(CHECKS)
soak:
	@ERLXC_SOAK=20 $(MAKE) --no-print-directory check CHECKS=ct
lint:
	@t/deps.sh build lint
	@BUILD=$(BUILD) t/lint.sh
bench:
	@t/deps.sh build run bench
	@$(MAKE) --no-print-directory all $(BENCH) $(BUILD)/probe/burst
	@BUILD=$(BUILD) t/bench/bench.escript $(ROWS)
FUZZ_TIME ?= 60
fuzz: $(FUZZERS)
	for f in $(FUZZERS:$(BUILD)/fuzz/%_fuzz=%); do \
		mkdir -p $(BUILD)/fuzz/$$f.corpus && $(BUILD)/fuzz/$${f}_fuzz \
		-max_total_time=$(FUZZ_TIME) -artifact_prefix=$(BUILD)/fuzz/ \
		$(BUILD)/fuzz/$$f.corpus t/corpus/$$f || exit 1; done
docs:
	erl -noshell -run edoc_run files '[$(subst $() ,$(comma),$(ERL:%="%"))]' \
		'[{dir, "doc"}, {preprocess, true}]'

# Never setuid: whoever may run the port is root on the host.
install: all
	install -d $(APPDIR)/ebin $(APPDIR)/priv
	install -m 0644 $(BEAM) ebin/erlxc.app $(APPDIR)/ebin
	install -m 0750 $(GROUP:%=-g %) $(PORT) $(APPDIR)/priv/erlxc
clean:
	rm -rf $(BUILD) ebin priv doc erl_crash.dump

FORCE:
.PHONY: all port erl tests static deps demo check soak lint bench fuzz docs \
	install clean FORCE
.SECONDARY:
