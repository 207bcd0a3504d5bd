# Thin: each target is one command. The tools are set up once, in .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready

# Options of `make sim`; every one that is set is passed on, NAME=value as --name value.
SIM_OPTIONS := NET CORES CHIP SIM WEIGHTS IMAGE SEED PRUNE SHAPE INPUT CALIBRATION PERCENTILE FALLBACK SCHEDULE LAUNCHES BATCH LAYERS NAME LATENCY BANDWIDTH RUN_AHEAD SKIP BALANCE ACTIVATIONS ENERGY TRACE INTERVAL JOBS WAVES SCOPE
# Those that are on or off: NAME=1 as --name, NAME=0 as --no-name.
SIM_FLAGS := FUSE OVERLAP COUNTERS PROFILE MEMORIES REPORT FRESH
# Likewise of `make bench`.
BENCH_OPTIONS := NETS CORES SCHEDULE JOBS OUT AGAINST TOLERANCE
# And of `make experiment`.
EXPERIMENT_OPTIONS := NAME ONLY NETS JOBS OUT
EXPERIMENT_FLAGS := RTL ESTIMATES
# Those of `make check`.
CHECK_OPTIONS := NET CORES CHIP WEIGHTS IMAGE BATCH PRUNE SHAPE INPUT CALIBRATION PERCENTILE FALLBACK SCHEDULE LAYERS LATENCY BANDWIDTH RUN_AHEAD SKIP BALANCE ACTIVATIONS ENERGY NAME
# Those of `make export` and `make calibrate`.
EXPORT_OPTIONS := TOOL NET CORES CHIP SHAPE LATENCY BANDWIDTH OUT
CALIBRATE_OPTIONS := KERNELS CHIPS UNSEEN NETS CORES MAPPINGS JOBS OUT COEFFICIENTS TOOLS RESULTS RUNS
# And of `make fuzz`.
FUZZ_OPTIONS := SEEDS CHIP SIM KIND REPLAY
lower = $(shell echo $(1) | tr A-Z_ a-z-)
args = $(foreach o,$(1),$(if $($(o)),--$(call lower,$(o)) '$($(o))'))
flags = $(foreach o,$(1),$(if $($(o)),$(if $(filter-out 0 1,$($(o))),$(error $(o)=$($(o)): give 1 or 0))--$(if $(filter 0,$($(o))),no-)$(call lower,$(o))))

.DEFAULT_GOAL := help
.PHONY: help setup sim report check energy schedule nets test cycles lint formal instructions inventory models mutate mutate-software coverage bench experiment export calibrate speed fuzz nightly clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  options of sim: $(SIM_OPTIONS) $(SIM_FLAGS)"
	@echo "    SCHEDULE=fused (many layers a launch, the default), layers (one a layer), apart (sums and max pools have their own too) or a file; OVERLAP=0: load, compute, store one after the other"
	@echo "    TRACE=1 records a timeline for ui.perfetto.dev, TRACE=json one for chrome://tracing; INTERVAL=cycles between its counts"
	@echo "    WAVES=1 or WAVES=from..to, in cycles of a launch, SCOPE=core0.compute, MEMORIES=1: waves for GTKWave and Surfer in runs/NAME/waves"
	@echo "  options of bench: $(BENCH_OPTIONS)"
	@echo "  options of experiment: $(EXPERIMENT_OPTIONS) $(EXPERIMENT_FLAGS)"
	@echo "    ONLY=group,run* and NETS=a,b run a part, the others keep what is known of them; RTL=0 only writes the page; ESTIMATES=0 leaves out what was not run"
	@echo "  options of export: $(EXPORT_OPTIONS) RUN; of calibrate: $(CALIBRATE_OPTIONS)"
	@echo "    KERNELS=quick writes to runs/calibration, full to docs/calibration.* and the estimator's coefficients; NETS=none simulates no network; with TOOLS= and RESULTS= it corrects other people's models"
	@echo "  options of fuzz: $(FUZZ_OPTIONS)"

setup: $(STAMP) ## install everything into .venv (and missing Debian packages, as root)

$(STAMP): requirements.txt pyproject.toml .ci/install
	PYTHON="$(PYTHON)" .ci/install $(VENV)
	@touch $@

sim: $(STAMP) ## simulate a network: make sim NET=vgg16 CORES=4
	@$(BIN)/python -m tb.cli sim $(call args,$(SIM_OPTIONS)) $(call flags,$(SIM_FLAGS))

report: $(STAMP) ## the page of a run again, or of several side by side: make report RUNS=lenet5-1cores,lenet5-4cores OUT=page.html
	@$(BIN)/python -m tb.cli report $(call args,RUNS OUT)

check: $(STAMP) ## all but the simulation, in seconds: what runs where and why, estimated cycles, int8 error: make check NET=model.onnx
	@$(BIN)/python -m tb.cli check $(call args,$(CHECK_OPTIONS)) $(call flags,OVERLAP)

energy: $(STAMP) ## energy of networks by class, from the events of their programs, not simulated: make energy NETS=lenet5 CORES=4 ENERGY=my.toml OUT=table; ERT=prices.yaml writes an Accelergy table
	@$(BIN)/python -m tb.cli energy $(call args,NETS CORES CHIP SCHEDULE ENERGY ERT OUT)

schedule: $(STAMP) ## write a network's fused schedule to edit, and draw it: make schedule NET=resnet50 OUT=plan.toml,plan.svg CORE=0; then make sim SCHEDULE=plan.toml
	@$(BIN)/python -m tb.cli schedule $(call args,NET CORES CHIP SCHEDULE LAYERS LATENCY BANDWIDTH LAUNCHES BATCH CORE OUT)

nets: $(STAMP) ## list the networks of the zoo
	@$(BIN)/python -m tb.cli nets

test: $(STAMP) ## all tests
	$(BIN)/python -m pytest -n $(or $(JOBS),2) --dist worksteal -q

cycles: $(STAMP) ## keep the cycles that the tests demand anew, where a change of timing is meant: tests/cycles.json
	$(BIN)/python -m pytest -q -m "slow or not slow" --systomesh-update tests/system

lint: $(STAMP) ## style, types, imports
	$(BIN)/ruff check . && $(BIN)/pyright && $(BIN)/lint-imports

formal: $(STAMP) ## proofs of the building blocks, each with its seeded bugs (under 10 minutes)
	@$(BIN)/python -m tests.formal

bench: $(STAMP) ## simulate the whole zoo, what is not up to date; one table of all; AGAINST=docs/bench.json: what got slower
	@$(BIN)/python -m tb.cli bench $(call args,$(BENCH_OPTIONS))

experiment: $(STAMP) ## a question to the chip, in many runs, what is not up to date: make experiment NAME=fusion; docs/experiments/NAME.md, .json and .svg
	@$(BIN)/python -m tb.cli experiment $(call args,$(EXPERIMENT_OPTIONS)) $(call flags,$(EXPERIMENT_FLAGS))

export: $(STAMP) ## another tool's inputs for our chip and network, and what they cannot say: make export TOOL=scalesim NET=lenet5 OUT=dir (RUN=1 runs it)
	@$(BIN)/python -m tb.cli export $(call args,$(EXPORT_OPTIONS)) $(call flags,RUN)

calibrate: $(STAMP) ## fit the estimator to micro-kernels on the RTL: make calibrate KERNELS=quick (or full, MAPPINGS=30); correct other people's models: TOOLS=scalesim,zigzag RESULTS=dir
	@$(BIN)/python -m tb.cli calibrate $(call args,$(CALIBRATE_OPTIONS))

speed: $(STAMP) ## simulation speed of a chip, bench against a bare C++ loop, and where the time goes: make speed CORES=16 PROFILE=1, CHIP=sparse1 PRUNE=han2015
	@$(BIN)/python -m tb.cli speed $(call args,NET LAYER CORES CHIP PRUNE) $(call flags,PROFILE)

fuzz: $(STAMP) ## random programs on the RTL: make fuzz SEEDS=0..99, make fuzz REPLAY=runs/fuzz/legal-7.json
	@$(BIN)/python -m tb.cli fuzz $(call args,$(FUZZ_OPTIONS))

nightly: $(STAMP) ## the long campaigns, those that have not passed on this commit: make nightly ONLY=fuzz,formal OUT=docs/nightly
	@$(BIN)/python -m tests.nightly $(call args,ONLY OUT) $(call flags,FRESH)

instructions: $(STAMP) ## docs/instructions.md, written anew from rtl/contract
	@$(BIN)/python -m rtl.contract.page docs/instructions.md

inventory: $(STAMP) ## structure of a chip, read back from its Verilog: make inventory CORES=4 (or CHIP=)
	@$(BIN)/python -m tb.cli inventory $(call args,CORES CHIP)

models: $(STAMP) ## check the trained ONNX files of some packages, which pip fetches once: make models ONLY=magika OUT=docs/models
	@$(BIN)/python -m tests.packages $(call args,ONLY OUT)

mutate: $(STAMP) ## mutants of the hardware that its benches must kill: make mutate BLOCK=fifo MUTANTS=40 JOBS=2; SHOW=1 OUT=docs/mutants
	@$(BIN)/python -m tests.mutation $(call args,BLOCK MUTANTS SEED JOBS OUT) $(call flags,SHOW)

mutate-software: $(STAMP) ## faults in golden, scheduler and estimator that the tests must kill: GROUP=ops MUTANTS=40
	@$(BIN)/python -m tests.mutation.software $(call args,GROUP MUTANTS SEED JOBS)

coverage: $(STAMP) ## coverage of the RTL and of what programs can do; pages in runs/coverage: make coverage SEEDS=48
	@$(BIN)/python -m tests.coverage $(call args,SEEDS)

clean: ## forget runs and cached builds (the tools stay)
	rm -rf runs build $${SYSTOMESH_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/systomesh}
