# What one does with this tree. `make` alone lists it.

GO        ?= go
FUZZTIME  ?= 10s
BENCH     ?= .
BENCHTIME ?= 1s
LINT      := bin/golangci-lint
BUF       := bin/buf
GRPCURL   := bin/grpcurl
# The packages whose goroutines share anything; the rest would only be compiled a second time.
RACE      := ./core/... ./adapters/... ./cmd/...
TSC       := npx --yes --package typescript@7.0.2 -- tsc

.PHONY: help build test race lint types gen checkgen fuzz e2e bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the gateway into bin/
	$(GO) build -trimpath -ldflags='-s -w' -o bin/gateway ./cmd/gateway

test: ## every test; needs nothing but Go (what needs more skips, and says so)
	$(GO) test ./...

race: ## the tests of the packages with goroutines, under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race $(RACE)

lint: $(LINT) ## vet and golangci-lint
	$(GO) vet ./...
	$(LINT) run

$(LINT): tools/lint/go.mod tools/lint/go.sum
	$(GO) build -C tools/lint -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

types: ## check the types of the page's TypeScript (needs npm)
	$(TSC) --project web

$(BUF): tools/buf/go.mod tools/buf/go.sum
	$(GO) build -C tools/buf -o $(CURDIR)/$@ github.com/bufbuild/buf/cmd/buf

$(GRPCURL): tools/grpcurl/go.mod tools/grpcurl/go.sum
	$(GO) build -C tools/grpcurl -o $(CURDIR)/$@ github.com/fullstorydev/grpcurl/cmd/grpcurl

gen: $(BUF) ## regenerate what is generated: AMQP codec, protobuf, page
	$(GO) generate ./adapters/... ./web
	proto/gen.sh

checkgen: $(BUF) ## fail if what is committed is not what the generators make (the page: go test ./web), or breaks what was published
	proto/gen.sh --check
	$(GO) test -count=1 -run Current ./web ./adapters/amqp/wire/...

fuzz: ## every fuzz target for FUZZTIME (10s)
	tools/fuzz.sh $(FUZZTIME)

e2e: ## the end-to-end tests in their long form, with foreign clients and a browser
	E2E=long $(GO) test -count=1 -timeout 60m ./test/...

bench: ## every benchmark, or those that match BENCH
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem ./core/... ./adapters/...

clean: ## remove what was built
	rm -rf bin
