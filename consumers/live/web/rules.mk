# SPDX-License-Identifier: MIT
#
# The page of the live view. Node's packages are those of package-lock.json; esbuild's result is in
# build/web, from where it goes into latido-live.


WEB := consumers/live/web
WEB_SRCS := $(shell find $(WEB)/src -type f) $(WEB)/build.mjs
WEB_MODULES := $(WEB)/node_modules/.latido

# .npmrc: nothing that was downloaded runs by being installed.
$(WEB_MODULES): $(WEB)/package.json $(WEB)/package-lock.json
	$(if $(V),,@echo "  NPM     $(WEB)")
	$(Q)cd $(WEB) && npm ci --loglevel=error
	@touch $@

$(O)/web/.stamp: $(WEB_MODULES) $(WEB_SRCS)
	$(if $(V),,@echo "  WEB     $(O)/web")
	$(Q)node $(WEB)/build.mjs $(O)/web
	@touch $@

.PHONY: web lint-web test-web screenshots
web: $(O)/web/.stamp ## Build the page of the live view into build/web
	@node $(WEB)/size.mjs $(O)/web

lint-web: $(WEB_MODULES) ## Types, lint and format of the page
	cd $(WEB) && node_modules/.bin/tsc && node_modules/@biomejs/cli-linux-*/biome check --error-on-warnings .

test-web: $(WEB_MODULES) ## Unit tests of the page
	node $(WEB)/test/run.mjs

screenshots: all ## The pictures of the README, from a real fleet; takes six minutes
	LATIDO_BIN=$(B)/bin node tests/browser/screenshots.mjs docs
