# Thin: each target is one command. The tools are set up once, in .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
JOBS   ?= 2

# Options of `make sim`; every one that is set is passed on, NAME=value as --name value.
SIM_OPTIONS := NET CORES CHIP SIM WEIGHTS IMAGE SEED SHAPE CALIBRATION PERCENTILE LAYERS NAME LATENCY BANDWIDTH WAVES FRESH
sim_args = $(foreach o,$(SIM_OPTIONS),$(if $($(o)),--$(shell echo $(o) | tr A-Z a-z) '$($(o))'))

.DEFAULT_GOAL := help
.PHONY: help setup sim nets test lint bench inventory mutate clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  options of sim: $(SIM_OPTIONS)"

setup: $(STAMP) ## install everything into .venv (and missing Debian packages, as root)

$(STAMP): requirements.txt pyproject.toml .ci/install
	PYTHON="$(PYTHON)" .ci/install $(VENV)
	@touch $@

sim: $(STAMP) ## simulate a network: make sim NET=vgg16 CORES=4
	@$(BIN)/python -m tb.cli sim $(sim_args)

nets: $(STAMP) ## list the networks of the zoo
	@$(BIN)/python -m tb.cli nets

test: $(STAMP) ## all tests
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q

lint: $(STAMP) ## style, types, imports
	$(BIN)/ruff check . && $(BIN)/pyright && $(BIN)/lint-imports

bench: $(STAMP) ## simulation speed of the default chip, bench against a bare C++ loop
	@$(BIN)/python -m tb.cli bench

inventory: $(STAMP) ## structure of a chip, read back from its Verilog: make inventory CORES=4 (or CHIP=)
	@$(BIN)/python -m tb.cli inventory $(foreach o,CORES CHIP,$(if $($(o)),--$(shell echo $(o) | tr A-Z a-z) '$($(o))'))

mutate: $(STAMP) ## mutants of the hardware that its benches must kill: make mutate BLOCK=fifo MUTANTS=40
	@$(BIN)/python -m tests.mutation $(foreach o,BLOCK MUTANTS SEED,$(if $($(o)),--$(shell echo $(o) | tr A-Z a-z) '$($(o))'))

clean: ## forget runs and cached builds (the tools stay)
	rm -rf runs build $${SYSTOMESH_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/systomesh}
