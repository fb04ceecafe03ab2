# What people type. Everything a target needs, it installs by itself.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := bin/nexus
GO  ?= go
TOOLS := $(CURDIR)/.cache/tools
GOLANGCI_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.1.4
TEST_TIMEOUT := 25m
SOAK ?= 20
# go's patterns pass over folders named testdata.
GENERATED := ./schemas/... ./internal/faults/testdata/rolling/before ./internal/faults/testdata/rolling/after

export NEXUS_CACHE ?= $(CURDIR)/.cache

.PHONY: help build dev test generate-check lint verify unit fuzz soak bench stack-up stack-down clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

build: ## the program, in bin/nexus
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN) ./cmd/nexus

dev: build ## the whole platform in one process, data in ./nexus-data
	$(BIN) dev

test: verify generate-check lint unit ## everything the project can check

verify: build ## the policies over topology, schemas and source
	$(BIN) verify .

generate-check: ## generated code is what the schemas say
	$(GO) generate $(GENERATED)
	@git diff --exit-code -- schemas internal/faults/testdata || { echo "generated code is stale: commit what 'go generate $(GENERATED)' writes"; exit 1; }

lint: $(TOOLS)/golangci-lint ## static checks
	deploy/local/tools.sh
	shellcheck -x deploy/local/*.sh internal/compattest/java/*.sh
	$(GO) vet ./...
	$(TOOLS)/golangci-lint run --allow-parallel-runners ./...

unit: ## all tests with the race detector, real Kafka included
	deploy/local/tools.sh
	CGO_ENABLED=1 $(GO) build -race ./...
	CGO_ENABLED=1 $(GO) test -race -p 1 -timeout $(TEST_TIMEOUT) ./... # one at a time: crash tests need their cores

fuzz: ## 30 s of each fuzz target
	./deploy/local/fuzz.sh 30s

soak: ## the crash tests with SOAK (20) times as many rounds
	deploy/local/tools.sh
	CGO_ENABLED=1 NEXUS_SOAK=$(SOAK) $(GO) test -race -p 1 -timeout 6h ./...

bench: build ## the table of benchmarks/README.md
	$(GO) run ./benchmarks

$(TOOLS)/golangci-lint:
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

stack-up: ## Kafka (BROKERS=3: three), registry, Elasticsearch
	@BROKERS=$(BROKERS) deploy/local/stack.sh up

stack-down: ## stops what stack-up started
	@deploy/local/stack.sh down

clean: ## removes what was built, not your data
	rm -rf bin .cache
