# Everything happens in an environment of its own; PYTHON may be any of 3.11 to 3.13.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Where `make run` keeps its installation, and the port that a new one gets.
STATE ?= state
PORT ?= 8443
PROTOS := $(shell cd proto && find sealgate -name '*.proto' | sort)
# One thread each: with more than that, small operations wait for one another.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo run test check lint types imports generated bench demo-models client-wheel proto fmt clean oracles oracle-kserve

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/serve ## Play the whole story once: publish, approve, serve, attack, roll back, prove
	@$(BIN)/python -m demo

run: $(VENV)/serve ## Start a gateway with the demo's digits model and say how to call it
	@$(BIN)/python -m demo.run --state $(STATE) --port $(PORT)

test: $(VENV)/dev oracles ## Install what the tests need and run them all
	$(BIN)/python -m pytest

check: lint types imports generated test ## Lint, types, import rules, generated code, tests

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

bench: $(VENV)/serve ## Measure the governed path beside ONNX Runtime alone
	$(BIN)/python -m benchmarks.path

demo-models: $(VENV)/dev ## Train the demo's models again
	$(BIN)/python -m training.demo_models

client-wheel: $(VENV)/serve ## Build the client alone: dist/sealgate_client-*.whl
	@rm -rf build/client
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist clients/python

proto: $(VENV)/dev ## Generate the gRPC code from proto/
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=. --pyi_out=. --grpc_python_out=. $(PROTOS)

fmt: $(VENV)/dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environments and what was built
	rm -rf $(VENV) .venv-* build dist *.egg-info

oracles: .venv-oracles/ready

oracle-kserve: .venv-kserve/ready ## Install KServe's client too, 450 MB, which one test asks

# Each stamp is an environment that holds the extras of its name.
$(VENV)/serve: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the serve extra into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[serve]'
	@touch $@

$(VENV)/dev: $(VENV)/serve
	@echo "Installing the train and dev extras into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[serve,train,dev]'
	@touch $@

# Programs that check us live apart, so that what they pin does not reach us.
.venv-oracles/ready: tests/oracles.txt
	@$(PYTHON) -m venv .venv-oracles
	@.venv-oracles/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.venv-kserve/ready: tests/oracle-kserve.txt
	@$(PYTHON) -m venv .venv-kserve
	@.venv-kserve/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
