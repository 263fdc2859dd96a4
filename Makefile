# Perdure. The two commands a newcomer needs: make demo, make test.
#
#   build     bin/perdure, bin/corebank
#   demo      the whole story on a two-city estate on this machine; ends by itself, report in .lab/
#   up, down  keep that estate running to play with; end it and leave nothing behind
#   test      everything: checks, unit, simulation, real PostgreSQL, real processes, a sample of fault runs
#   check     formatting, vet, linters, dead code, generated files, tests with the race detector
#   sim       the protocol simulator: make sim SEEDS=20000 FROM=1
#   matrix    the failure-mode matrix, stories of trouble, kills and seeded bugs, resumable: make matrix [ONLY=primary]
#   stories   the stories of trouble alone, resumable: make stories [STORIES=one-way]
#   test-docs opens the documents of runs with LibreOffice and reads the pages; installs it where it is missing
#   soak      2 h of starvation, pauses and packet loss without a fault: 0 switches
#   bench     numbers beside the baseline found installed: make bench [PART=gateway]
#   generate  files made by programs
#   clean     what was built (.lab is ended and removed too)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build

GO       ?= go
# Packages are tested two at a time: more of them start real servers at once than a small machine can carry.
P        ?= 2
TESTFLAGS ?= -race -timeout 20m
SEEDS    ?= 2000
FROM     ?= 1
SECONDS_OF_FAULTS ?= 200
SECONDS_OF_KILLS ?= 45
KILLS    ?= 60
TOOLS    := .tools
LAB      := bin/perdure lab

.PHONY: build bin/perdure bin/corebank demo up down test check lint unit faults sim matrix stories test-docs soak bench generate generated clean need

build: bin/perdure bin/corebank

# Go itself knows what is out of date.
bin/perdure:
	@scripts/need go
	$(GO) build -o $@ ./cmd/perdure

bin/corebank:
	@scripts/need go
	$(GO) build -o $@ ./examples/corebank

need:
	@scripts/need go cc postgresql

demo:
	@scripts/need go postgresql
	@echo "Building (a first build takes minutes) …"
	@$(MAKE) --no-print-directory build
	$(LAB) run --story examples/stories/demo.story

up:
	@scripts/need go postgresql
	@$(MAKE) --no-print-directory build
	$(LAB) up

down:
	@[ -x bin/perdure ] || $(MAKE) --no-print-directory bin/perdure
	$(LAB) down

test: need lint generated unit build faults

check: need lint generated unit

# ---- lint ----------------------------------------------------------------------------------------------------------
# Linters are pinned in modules of their own, so that their dependencies are none of the product's.
$(TOOLS)/staticcheck: scripts/lint/tools/go.mod scripts/lint/tools/go.sum
	@echo "Building the linters …"
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install -modfile=scripts/lint/tools/go.mod tool
	@touch $@

$(TOOLS)/golangci-lint: scripts/lint/golangci/go.mod scripts/lint/golangci/go.sum
	@echo "Building golangci-lint (minutes, once) …"
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install -modfile=scripts/lint/golangci/go.mod tool
	@touch $@

# What is formatted and checked: the tree's own Go files.
GOFILES = $$(git ls-files -co --exclude-standard '*.go')

lint: $(TOOLS)/staticcheck $(TOOLS)/golangci-lint
	@bad=$$($(TOOLS)/gofumpt -l $(GOFILES)); [ -z "$$bad" ] || { echo "not gofumpt-clean:"; echo "$$bad"; exit 1; }
	$(GO) vet ./...
	$(TOOLS)/staticcheck ./...
	$(TOOLS)/golangci-lint run ./...
	$(GO) fix -diff ./...
	@dead=$$($(TOOLS)/deadcode -test ./...); [ -z "$$dead" ] || { echo "dead code:"; echo "$$dead"; exit 1; }

# ---- tests ---------------------------------------------------------------------------------------------------------
unit:
	$(GO) test -p $(P) $(TESTFLAGS) ./...

# Seeded bugs 1, 4, 6 and 10 always, then one process killed in each of some switches, then as many cells of the failure-mode matrix as
# the time allows; other choices at each run.
faults: build
	$(LAB) faults --seeded always
	$(LAB) faults --kills 99 --seconds $(SECONDS_OF_KILLS)
	$(LAB) faults --sample --seconds $(SECONDS_OF_FAULTS)

sim:
	$(GO) test -v -count=1 -timeout 0 ./internal/unit/sim -run '^TestSim$$' -seeds $(SEEDS) -from $(FROM)

# The failure-mode matrix, the stories that are none of its cells, one process killed in each of many switches, and every bug that the lab
# has to catch, each with its story passing without it. What passed is not tried again until the program is another one.
matrix: need build
	$(LAB) faults --matrix $(if $(ONLY),--only "$(ONLY)")
	$(if $(ONLY),,scripts/stories)
	$(if $(ONLY),,$(LAB) faults --kills $(KILLS))
	$(if $(ONLY),,PERDURE_CRASH_ALL=1 $(GO) test -count=1 -timeout 30m -run WhereverAProcessIsKilled ./internal/runner)
	$(if $(ONLY),,$(LAB) faults --seeded all --control)

stories: need build
	scripts/stories $(STORIES)

test-docs:
	@scripts/need go office
	PERDURE_TEST_DOCS=1 $(GO) test -count=1 -timeout 5m ./internal/document

soak: need build
	$(LAB) run --story examples/stories/soak.story

bench: need build
	scripts/bench $(PART)

# ---- generated files -----------------------------------------------------------------------------------------------
generate:
	$(GO) generate ./...

# Generating again must change nothing; what was changed by hand before does not matter.
generated:
	@before=$$(git diff | cksum); $(MAKE) --no-print-directory generate; \
	[ "$$before" = "$$(git diff | cksum)" ] || { git diff --stat; echo "generated files were not up to date: commit what 'make generate' changed"; exit 1; }

clean:
	@[ ! -x bin/perdure ] || $(LAB) down
	rm -rf bin .lab $(TOOLS)
