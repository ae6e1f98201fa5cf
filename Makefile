# Herald's starters. `make help` lists them. Everything that is missing on the machine is set up by scripts/setup.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := node_modules/.bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup build image package manifests release demo lab test bench clean

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

setup: ## what is missing: npm packages, Debian packages (as root), Kubernetes built from its Go modules
	@scripts/setup all

build:
	@scripts/setup npm
	@$(BIN)/node scripts/build.ts

# What is needed to install Herald in a cluster: no lab, no root.
image: ## Herald's image in dist/image, from scratch; ARCH=arm64 for the other architecture
	@scripts/setup npm
	@$(BIN)/node scripts/image.ts $(if $(ARCH),--arch $(ARCH))

package: ## the Helm chart as dist/herald-VERSION.tgz
	@scripts/setup npm
	@$(BIN)/node scripts/package.ts

manifests: ## the chart with its defaults as plain YAML, dist/manifests/herald.yaml
	@scripts/setup npm helm
	@$(BIN)/node scripts/manifests.ts

release: ## all of it for both architectures in dist/release, with checksums; DRAFT=1 from a changed tree
	@scripts/setup npm helm
	@$(BIN)/node scripts/release.ts $(if $(DRAFT),--draft)

demo: ## the walkthrough, narrated: Herald's image and chart on real kubelets; LIGHT=1 without them
	@scripts/setup rights $(if $(LIGHT),light,full)
	@LIGHT=$(LIGHT) $(BIN)/node test/lab/walkthrough/demo.ts

lab: ## a cluster of network namespaces to play with (= scripts/lab up)
	@scripts/setup rights light
	@$(BIN)/node scripts/build.ts
	@scripts/lab up

test: setup ## everything that continuous integration runs
	@$(BIN)/node scripts/test.ts

bench: setup build image ## measures; appends to bench/results.jsonl and rewrites docs/benchmarks.md
	@$(BIN)/node bench/main.ts

clean: ## removes what was built here (not the cache)
	rm -rf dist test-results
