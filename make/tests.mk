# What `make test-extra NAME=…` runs: tests that take long, or that take much to install.

EXTRAS := $(shell sed -n 's,^test/\([a-z]*\):.*,\1,p' make/tests.mk)
.PHONY: test/list $(EXTRAS:%=test/%)

test/list:
	@echo "make test-extra NAME=…, where NAME is one of:"
	@awk -F ':.*## ' '/^test\/[a-z]+:.*## / {printf "  %-10s %s\n", substr($$1, 6), $$2}' make/tests.mk

test/slow: $(VENV)/dev front oracles ## the dearest tests, which `make test` leaves out (25 minutes)
	$(BIN)/python -m pytest -m "slow and not long" --numprocesses $(WORKERS) --dist loadfile --durations 40

test/openai: $(VENV)/dev .venv-openai_server/ready ## a gateway whose language models `transformers serve` runs
	$(BIN)/python -m pytest -m slow tests/integration/generation/test_openai_server.py

test/tensorflow: $(VENV)/dev .venv-oracles/ready .venv-tensorflow/ready ## a network of Keras, by TensorFlow's converter
	$(BIN)/python -m pytest tests/integration/publishing/test_tensorflow.py

test/mlflow: $(VENV)/dev .venv-mlflow/ready ## models out of MLflow's stores and server, by their URIs
	$(BIN)/python -m pytest tests/integration/publishing/test_mlflow_uris.py

test/export: $(VENV)/dev ## exports from checkpoints and windows, up to published versions (10 minutes)
	SEALGATE_LONG=1 $(BIN)/python -m pytest tests/integration/training/test_long_exports.py tests/integration/training/test_imported_published.py tests/integration/training/test_windows_published.py

test/training: $(VENV)/dev ## models trained and graphs exported afresh, and again alike (5 minutes)
	$(BIN)/python -m pytest -m long tests/integration/screening tests/integration/training

test/ready: $(VENV)/dev ## models that people have, published and recalibrated (3 minutes)
	$(BIN)/python -m pytest -m long tests/integration/publishing

test/federated: $(VENV)/dev .venv-federated/ready ## training with clients as processes, with Flower
	$(BIN)/python -m pytest tests/integration/training/test_federated_processes.py \
		tests/integration/training/test_federated_elsewhere.py

test/faults: $(VENV)/dev ## kills, cuts, fills and floods real processes, and sends them almost valid messages (30 minutes)
	SEALGATE_FAULTS=1 $(BIN)/python -m pytest tests/faults -m long --timeout 1800

test/drill: $(VENV)/dev front ## two cases of the drill end to end (2 minutes)
	$(BIN)/python -m pytest -m long --timeout 900 tests/integration/demo

test/promotion: $(VENV)/dev ## the model-checked promotion, 50,000 runs, and seeded bugs (an hour)
	$(BIN)/python -m pytest tests/model -m long
	$(BIN)/python -m tests.support.oracles.promotion.campaign

test/databases: $(VENV)/dev ## every case of the registry's tests on PostgreSQL, where `make test` runs the first of each
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --every-database -m "not long" tests/contract
	$(BIN)/python -m pytest -m long tests/integration/cli

test/ray: $(VENV)/dev .venv-ray/ready ## an engine's replicas on Ray Serve
	$(BIN)/python -m pytest tests/integration/ray

test/images: $(VENV)/dev ## what a container image holds, installed without an engine; its commands start
	$(BIN)/python -m pytest -m "long or not long" tests/integration/deploy/test_images.py

test/built: $(VENV)/dev ## the image of language models, built by buildah and run from its root (as root; minutes, 8 GB)
	$(BIN)/python -m pytest -m long tests/integration/deploy/test_built_images.py
