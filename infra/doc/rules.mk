# SPDX-License-Identifier: MIT
# Documentation from the tables of lib/conf, man pages, installation.

CONFDOC := $(B)/confdoc
$(CONFDOC): $(B)/infra/doc/confdoc.o $(ARCHIVE)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(LDLIBS)

DOC_GEN := $(O)/gen/doc
$(DOC_GEN)/latido.yaml.5.scd: $(CONFDOC) infra/doc/latido.yaml.5.in
	@mkdir -p $(@D)
	$(Q)$(CONFDOC) page infra/doc/latido.yaml.5.in > $@
$(DOC_GEN)/latido.yaml: $(CONFDOC)
	@mkdir -p $(@D)
	$(Q)$(CONFDOC) sample > $@

.PHONY: docs man check-docs
docs: $(DOC_GEN)/latido.yaml.5.scd $(DOC_GEN)/latido.yaml ## Rewrite the generated page and the sample configuration
	@mkdir -p docs/man
	cp $(DOC_GEN)/latido.yaml.5.scd docs/man/latido.yaml.5.scd
	cp $(DOC_GEN)/latido.yaml infra/latido.yaml

MAN_SRCS := $(sort docs/man/latido.yaml.5.scd $(wildcard docs/man/*.scd))
MAN_PAGES := $(MAN_SRCS:docs/man/%.scd=$(O)/man/%)
man: $(MAN_PAGES) ## Build the man pages into build/man
$(O)/man/%: docs/man/%.scd
	@mkdir -p $(@D)
	$(Q)scdoc < $< > $@

check-docs: all $(DOC_GEN)/latido.yaml.5.scd $(DOC_GEN)/latido.yaml ## Fail when the documentation differs from the programs
	infra/doc/check.py $(B)/bin $(DOC_GEN)

# make install DESTDIR=... PREFIX=/usr; the units go where systemd looks for both usual prefixes.
DESTDIR ?=
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/latido
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
INSTALL := install
ALERTDIR ?= $(PREFIX)/share/latido/alerts
UNITS := $(wildcard infra/systemd/*.service)

.PHONY: install uninstall
install: all man ## Install programs, pages, units and the sample configuration (PREFIX, DESTDIR)
	$(INSTALL) -d $(addprefix $(DESTDIR),$(PREFIX)/bin $(UNITDIR) $(MANDIR)/man1 $(MANDIR)/man5 $(MANDIR)/man7 $(DOCDIR) \
		$(COMPLETIONDIR) $(SYSCONFDIR)/latido)
	$(INSTALL) -m 755 $(BINS) $(DESTDIR)$(PREFIX)/bin
	$(INSTALL) -m 644 $(filter %.1,$(MAN_PAGES)) $(DESTDIR)$(MANDIR)/man1
	$(INSTALL) -m 644 $(filter %.5,$(MAN_PAGES)) $(DESTDIR)$(MANDIR)/man5
	$(INSTALL) -m 644 $(filter %.7,$(MAN_PAGES)) $(DESTDIR)$(MANDIR)/man7
	$(INSTALL) -m 644 infra/latido.yaml docs/bounds.md $(DESTDIR)$(DOCDIR)
	$(INSTALL) -m 644 kmod/README.md $(DESTDIR)$(DOCDIR)/kmod.md
	$(INSTALL) -d $(DESTDIR)$(ALERTDIR)
	$(INSTALL) -m 644 $(wildcard schemas/alerts/*.yaml) $(DESTDIR)$(ALERTDIR)
	$(INSTALL) -m 644 infra/completion/latido.bash $(DESTDIR)$(COMPLETIONDIR)/latido
	@for u in $(UNITS); do \
		sed 's,/usr/bin/latido,$(PREFIX)/bin/latido,' $$u > $(O)/unit.tmp && \
		$(INSTALL) -m 644 $(O)/unit.tmp $(DESTDIR)$(UNITDIR)/$${u##*/} || exit 1; \
	done; rm -f $(O)/unit.tmp
	@test -e $(DESTDIR)$(SYSCONFDIR)/latido/latido.yaml || \
		$(INSTALL) -m 644 infra/latido.yaml $(DESTDIR)$(SYSCONFDIR)/latido/latido.yaml

uninstall: ## Remove what install put there, but the configuration
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(PROGS)) $(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(UNITS)))
	rm -f $(addprefix $(DESTDIR)$(MANDIR)/man1/,$(notdir $(filter %.1,$(MAN_PAGES))))
	rm -f $(addprefix $(DESTDIR)$(MANDIR)/man5/,$(notdir $(filter %.5,$(MAN_PAGES))))
	rm -f $(addprefix $(DESTDIR)$(MANDIR)/man7/,$(notdir $(filter %.7,$(MAN_PAGES))))
	rm -f $(DESTDIR)$(COMPLETIONDIR)/latido
	rm -rf $(DESTDIR)$(DOCDIR) $(DESTDIR)$(ALERTDIR)
