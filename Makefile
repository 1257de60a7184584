# Everything happens in an environment of its own; PYTHON may be any of 3.11 to 3.13.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Where `make run` keeps its installation, and the port that a new one gets.
STATE ?= state
PORT ?= 8443
PROTOS := $(shell cd proto && find sealgate -name '*.proto' | sort)
# Tests wait for other processes a third of their time, so two run at a time for each core.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) * 2)))
# The programs that tests ask. What they pin does not reach us, for each has an environment of its own.
ORACLES := $(patsubst %,.venv-%/ready,oracles mlserver aics_witness openvino callers $(if $(ALL),kserve helm))
# One thread each: with more than that, small operations wait for one another.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo demo-llm drill run test check fmt fuzz bench test-extra oracles proto docs client-wheel client-js images clean \
	environments collected played lint types imports generated kubernetes demo-models oracle-kserve oracle-helm

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/serve front ## Play the whole story once: publish, approve, serve, attack, roll back, prove
	@$(BIN)/python -m demo

demo-llm: $(VENV)/dev .venv-llm/ready ## The same for a real language model: injections, secrets, a replay; downloads 0.5 GB once
	@$(BIN)/python -m demo.llm

drill: $(VENV)/serve front ## Break production in five ways, and show how soon each is seen, ended and explained (CASES="engine disk")
	@$(BIN)/python -m demo.drill $(CASES)

run: $(VENV)/serve front ## Start a gateway and console with the demo's digits (STATE=state; PORT=8443, of a new one; CONSOLE=0: no console)
	@$(BIN)/python -m demo.run --state $(STATE) --port $(PORT) $(if $(filter 0,$(CONSOLE)),--no-console)

test: $(VENV)/dev front oracles $(if $(filter check,$(MAKECMDGOALS)),collected) ## Install what the tests need and run them all
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --durations 40

check: lint types imports generated front-check test ## What CI runs: lint, types, import rules, generated code, tests

test-extra: $(if $(NAME),test/$(NAME),test/list) ## Run long or large tests: NAME=ray; alone, it lists the names

fuzz: $(VENV)/dev ## Fuzz the parsers of bytes from outside (TARGET=receipts SECONDS=60 KEEP=1)
	$(if $(filter front,$(TARGET)),,$(BIN)/python -m tests.fuzz $(TARGET) \
		--seconds $(or $(SECONDS),60) $(if $(KEEP),--keep))
	@$(if $(filter-out front,$(TARGET)),,$(MAKE) --no-print-directory front-fuzz)

bench: $(if $(NAME),bench/$(NAME),bench/list) ## Run a benchmark: NAME=serve; alone, it lists the names

fmt: $(VENV)/dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: $(VENV)/dev ## Generate the gRPC code from proto/
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=. --pyi_out=. --grpc_python_out=. $(PROTOS)

docs: $(VENV)/dev .venv-docs/ready ## Write the generated pages, and build the site in build/site
	@$(BIN)/python -m manual
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --quiet --strict

oracles: $(ORACLES) ## Install the programs that tests ask (ALL=1: the large ones too)

clean: ## Remove the environments and what was built
	rm -rf $(VENV) .venv-* build dist front/target *.egg-info

# All that `make check` installs from Python's index.
environments: $(VENV)/dev oracles

# The parts of `make check`.

# Whether every test can be collected, those too that run on request. This compiles them, so that no
# worker has to: while other environments are installed there is time.
collected: $(VENV)/dev
	@mkdir -p build
	@$(BIN)/python -m pytest -m "" --collect-only > build/collected.log 2>&1 || { tail -30 build/collected.log; exit 1; }

# The demo, beside the tests: it waits half of its time.
played: front
	@mkdir -p build
	@$(BIN)/python -m demo --in-build > build/demo.log 2>&1 || { cat build/demo.log; exit 1; }

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/buf lint

types: $(VENV)/dev
	$(BIN)/mypy

imports: $(VENV)/dev
	$(BIN)/lint-imports

generated: $(VENV)/dev # The committed stubs must be what the protos say
	@rm -rf build/generated && mkdir -p build/generated
	@$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=build/generated \
		--pyi_out=build/generated --grpc_python_out=build/generated $(PROTOS)
	@cd build/generated && find . -type f | while read -r file; do \
		cmp -s "$$file" "../../$$file" || { echo "$$file is stale: run make proto"; exit 1; }; done

# Seldom needed: the container images (IMAGES="gateway generation cuda"), deploy/kubernetes from the
# chart, the demo's models, KServe's client, helm's library, the client alone as a wheel, and the
# module of clients/js as a package for npm.
images:
	@deploy/container/build.sh $(IMAGES)

kubernetes: $(VENV)/dev .venv-helm/ready
	$(BIN)/python -m tests.support.oracles.helm

demo-models: $(VENV)/dev build/guard/small
	$(BIN)/python -m demo.train_models
	$(BIN)/python -m demo.llm.guard build/guard/small

oracle-kserve: .venv-kserve/ready

oracle-helm: .venv-helm/ready

client-wheel: $(VENV)/serve
	@rm -rf build/client
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist clients/python

client-js:
	@mkdir -p $(or $(DIST),dist)
	@tar --create --gzip --file $(or $(DIST),dist)/sealgate-receipt.tgz --transform 's,^,package/,' \
		--directory clients/js package.json README.md \
		--directory ../../sealgate/pages receipt.mjs checks.mjs proof.mjs

include make/environments.mk make/bench.mk make/front.mk make/tests.mk
