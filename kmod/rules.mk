# SPDX-License-Identifier: MIT
# The kernel modules, their test machine and linters. Built outside this folder, which stays clean.

# The folder of the headers that modules are built for: of the running kernel or, where those are not
# installed, of the newest that are.
KDIR ?= $(firstword $(wildcard /lib/modules/$(shell uname -r)/build) \
	$(lastword $(shell ls -dv /usr/src/linux-headers-*-amd64 2>/dev/null)))
KRELEASE = $(shell cat $(KDIR)/include/config/kernel.release 2>/dev/null)
KMOD_SRCS := $(wildcard kmod/*.c kmod/*.h) kmod/Kbuild
KMOD_OUT = $(O)/kmod/$(KRELEASE)-modules
KMAKE = $(MAKE) --no-print-directory -C $(KDIR) M=$(abspath $(KMOD_OUT)) LATIDO_VERSION=$(VERSION) W=1 \
	$(if $(WERROR),LATIDO_WERROR=y)

.PHONY: kmod kmod-folder kmod-sources kmod-install kmod-dkms kmod-lint kmod-guest test-kmod test-kmod-debug
kmod: kmod-sources ## Build the kernel modules for KDIR, by default the running kernel's headers
	$(Q)$(KMAKE) modules >$(KMOD_OUT)/build.log 2>&1 || { cat $(KMOD_OUT)/build.log; exit 1; }
	$(Q)mkdir -p $(KMOD_OUT)/stripped
	$(Q)for m in latido latido_cpu latido_ram latido_procs; do \
		strip --strip-debug -o $(KMOD_OUT)/stripped/$$m.ko $(KMOD_OUT)/$$m.ko || exit 1; done
	@echo "  KMOD    $(KMOD_OUT)/*.ko for $(KRELEASE)"
kmod-sources:
	@[ -n "$(KRELEASE)" ] || { echo "make kmod: no kernel headers in KDIR=\"$(KDIR)\":" \
		"apt-get install linux-headers-amd64, or give KDIR=/path" >&2; exit 1; }
	@mkdir -p $(KMOD_OUT) && cp -pu $(KMOD_SRCS) $(KMOD_OUT)/
kmod-folder:
	@echo $(abspath $(KMOD_OUT))

kmod-install: kmod ## Install the modules for KDIR's kernel, which must be this machine's (root)
	$(KMAKE) modules_install $(if $(DESTDIR),INSTALL_MOD_PATH=$(DESTDIR))
	/sbin/depmod $(if $(DESTDIR),-b $(DESTDIR)) $(KRELEASE)
kmod-dkms: ## Put the sources where dkms looks for them: then dkms install latido/VERSION (root)
	install -d $(DESTDIR)/usr/src/latido-$(VERSION)
	install -m 644 $(KMOD_SRCS) kmod/README.md $(DESTDIR)/usr/src/latido-$(VERSION)/
	sed 's/@VERSION@/$(VERSION)/' kmod/dkms.conf >$(DESTDIR)/usr/src/latido-$(VERSION)/dkms.conf

# The first process of the test machine.
GUEST_SRCS := $(wildcard tests/kmod/guest/*.c)
kmod-guest: $(O)/kmod/guest/init
$(O)/kmod/guest/init: $(GUEST_SRCS) tests/kmod/guest/guest.h
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $@")
	$(Q)$(CC) -D_GNU_SOURCE -std=gnu17 $(WARN) -O2 -static -pthread -o $@ $(GUEST_SRCS)

kmod-lint: ## sparse, coccinelle, W=1 and, with linux-source installed, checkpatch on the modules
	tests/kmod/lint.sh "$(KDIR)" "$(O)/kmod"
test-kmod: all ## Boot Debian's kernel with the modules under emulation and compare (no root, no KVM)
	tests/run.py kmod
test-kmod-debug: all ## The same in a kernel built with KASAN, lockdep and kmemleak (once about 10 minutes)
	infra/deps.sh build demo test kmod kmod-debug
	LATIDO_BIN=$(B)/bin LATIDO_KMOD_DEBUG=1 /usr/bin/python3 -m pytest -v -rA -p no:cacheprovider tests/kmod/test_kmod.py
