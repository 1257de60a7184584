# The native transport, where cargo is there; without it the gateway runs on grpcio. Crates come from
# Debian's packages where they are installed, else from the public index.

DEBIAN_CRATES ?= /usr/share/cargo/registry
ifneq ($(and $(wildcard $(DEBIAN_CRATES)/h2-0.4*),$(wildcard $(DEBIAN_CRATES)/pyo3-0.22*)),)
# A home of cargo's whose configuration replaces the public index.
CARGO_ENV := CARGO_HOME=$(CURDIR)/build/cargo CARGO_NET_OFFLINE=true
endif
# The crate's own tests link the interpreter of the environment.
CARGO_TEST_ENV = $(CARGO_ENV) PYO3_PYTHON=$(CURDIR)/$(BIN)/python
HAS_CARGO := $(shell command -v cargo)
# What installs into the same environment does so before.
FRONT_AFTER := $(VENV)/$(if $(filter test check,$(MAKECMDGOALS)),dev,serve)
.PHONY: front front-check front-fuzz

front: $(if $(HAS_CARGO),$(VENV)/front) ## Build the native transport into the environment, where cargo is there
	@test -n "$(HAS_CARGO)" || echo "There is no cargo: the gateway runs on grpcio"

# Elsewhere than in CI we go on without it.
$(VENV)/front: $(wildcard front/src/*.rs) front/Cargo.toml front/pyproject.toml front/sealgate_front.pyi build/cargo/config.toml | $(FRONT_AFTER)
	@echo "Building the native transport into $(VENV) (once): compiling it takes minutes"
	@mkdir -p build && rm -rf build/front
	@( $(BIN)/python -m pip install --quiet --disable-pip-version-check 'maturin>=1.5,<2' \
		&& $(CARGO_ENV) $(BIN)/maturin build --quiet --release --manifest-path front/Cargo.toml --out build/front \
			--interpreter $(BIN)/python \
		&& $(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps \
			build/front/*.whl ) > build/front.log 2>&1 \
	|| { tail -20 build/front.log; test -z "$$CI" \
		&& echo "The native transport does not build: the gateway runs on grpcio"; }
	@touch $@

build/cargo/config.toml: make/front.mk
	@mkdir -p $(@D)
	@printf '[source.crates-io]\nreplace-with = "debian"\n[source.debian]\ndirectory = "%s"\n' \
		'$(DEBIAN_CRATES)' > $@

front-fuzz: build/cargo/config.toml | $(VENV)/serve # Frames that are mutated, from another seed each time
ifneq ($(HAS_CARGO),)
	cd front && $(CARGO_TEST_ENV) SEALGATE_FUZZ_SECONDS=$(or $(SECONDS),60) SEALGATE_FUZZ_SEED=$$(date +%s000) \
		cargo test --quiet --no-default-features --test mutated -- --nocapture
endif

front-check: front build/cargo/config.toml # The crate's format, lints and own tests
ifneq ($(HAS_CARGO),)
	cd front && cargo fmt --check
	cd front && $(CARGO_TEST_ENV) cargo clippy --quiet --all-targets -- -D warnings
	cd front && $(CARGO_TEST_ENV) SEALGATE_FUZZ_SECONDS=5 cargo test --quiet --no-default-features
endif
