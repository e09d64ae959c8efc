# `make demo` and `make test` do all the set-up they need (tools/setup_env.sh,
# which returns at once where .venv is complete).
PYTHON_VENV := .venv/bin/python
DEMO_CONFIG := configs/phantom/foundation-x_tiny_phantom.py

# The tests' models are tiny: a second thread gains nothing, and on a busy
# machine the two spin while they wait for each other.
test test-workflows test-all test-federated: export OMP_NUM_THREADS ?= 1

FEDERATED_VENV := .venv-federated
LABELSTUDIO_VENV := .venv-labelstudio

.PHONY: help setup wheelhouse demo test test-workflows test-all test-federated \
	federated labelstudio fuzz lint docs format dist env clean distclean

help:
	@echo 'make demo      train on phantom data, with a report at the end'
	@echo 'make test      fast tests'
	@echo 'make test-workflows  long tests of what users do: data to results'
	@echo 'make test-all  all tests, the long ones too'
	@echo 'make federated  Flower, for sites and their server, in .venv-federated'
	@echo 'make test-federated  tests of it, over the network of this machine'
	@echo 'make labelstudio  its converter, in .venv-labelstudio: one test asks it'
	@echo 'make fuzz      an hour of mutated files, configs and weights'
	@echo 'make lint      ruff check, format check, mypy'
	@echo 'make docs      the documentation as a site, in build/site'
	@echo 'make format    ruff format and fixes'
	@echo 'make setup     only the set-up of .venv'
	@echo 'make wheelhouse  packages for a machine without a network'
	@echo 'make dist      sdist and wheel, in dist/'
	@echo 'make env       versions, operators, devices'
	@echo 'make clean     remove build products; distclean: .venv too'

setup:
	@bash tools/setup_env.sh

# For another machine, see docs/installation.md: PYTHON is its version; TORCH
# a version, or `installed` where it has one; HAVE its `pip list`; TESTS=0
# leaves out what only `make test` and `make lint` need. Needs no .venv.
OUT := wheelhouse
wheelhouse:
	@helper=$$(mktemp -d) && trap 'rm -rf "$$helper"' EXIT && \
	python3 -m venv "$$helper" && \
	"$$helper/bin/python" -m pip install -q packaging && \
	"$$helper/bin/python" tools/wheelhouse.py collect '$(OUT)' \
		$(if $(PYTHON),--python '$(PYTHON)') \
		$(if $(TORCH),--torch '$(TORCH)') \
		$(if $(HAVE),--have '$(HAVE)') \
		$(if $(filter 0,$(TESTS)),--no-tests)

demo: setup
	$(PYTHON_VENV) tools/train.py $(DEMO_CONFIG)

# A file's tests stay together: they share costly fixtures.
test: setup
	$(PYTHON_VENV) -m pytest -n 2 --dist loadfile

# Slow tests of what users do: raw data to results, the tutorial, real files,
# export, two processes, resume, the tools' further ways, the set-up without a
# network, the check of a GPU.
WORKFLOWS := tests/test_raw_to_results.py tests/test_docs \
	tests/test_analysis/test_host_waits.py \
	tests/test_apis/test_dicom_results.py tests/test_app \
	tests/test_real_data.py tests/test_deployment \
	tests/test_engine/test_adapter_runs.py \
	tests/test_engine/test_changed_world.py \
	tests/test_engine/test_compiled_training.py \
	tests/test_engine/test_continual.py \
	tests/test_engine/test_corrected_predictions.py \
	tests/test_engine/test_distributed.py tests/test_engine/test_hooks \
	tests/test_engine/test_joint_levers.py \
	tests/test_engine/test_left_out_steps.py \
	tests/test_engine/test_mean_teacher_hook.py \
	tests/test_engine/test_mixture_runs.py \
	tests/test_engine/test_orders.py tests/test_engine/test_start_summary.py \
	tests/test_engine/test_trackers.py \
	tests/test_engine/test_two_machines.py \
	tests/test_engine/test_training.py tests/test_engine/test_two_views.py \
	tests/test_engine/test_validation_losses.py \
	tests/test_engine/test_vit_runs.py \
	tests/test_engine/test_which_model_predicts.py \
	tests/test_federated \
	tests/test_models/test_dino_config.py tests/test_models/test_export.py \
	tests/test_models/test_reporting.py \
	tests/test_phantom/test_not_a_toy.py \
	tests/test_preparation/test_corrections.py \
	tests/test_tasks/test_foreign_kind.py \
	tests/test_tasks/test_masked_image_run.py \
	tests/test_tasks/test_pseudo_label_run.py \
	tests/test_tasks/test_self_distillation_run.py \
	tests/test_tasks/test_report_run.py \
	tests/test_tools/test_ablation.py \
	tests/test_tools/test_audit_tool.py tests/test_tools/test_gpu_check.py \
	tests/test_tools/test_setup_env.py \
	tests/test_tools/test_stock_tools.py \
	tests/test_tools/test_train_options.py \
	tests/test_tools/test_train_test_predict.py

test-workflows: setup
	$(PYTHON_VENV) -m pytest -n 2 --dist loadfile -m slow $(WORKFLOWS)

test-all: setup
	$(PYTHON_VENV) -m pytest -m ''

# Flower wants older packages than ours: an environment of its own, where they
# come first and those of .venv behind them.
federated: setup
	@test -x $(FEDERATED_VENV)/bin/flower-superlink || ( \
	rm -rf $(FEDERATED_VENV) && \
	$(PYTHON_VENV) -m venv --without-pip $(FEDERATED_VENV) && \
	$(PYTHON_VENV) -m pip --python $(FEDERATED_VENV)/bin/python install -q \
		-r requirements/federated.txt \
		-c requirements/federated-constraints.txt && \
	$(PYTHON_VENV) -c "import sysconfig; path = sysconfig.get_path('purelib'); \
		print(f'import site; site.addsitedir({path!r})')" > \
		$$($(FEDERATED_VENV)/bin/python -c "import sysconfig; \
		print(sysconfig.get_path('purelib'))")/zz_fx_mm.pth )

test-federated: federated
	$(FEDERATED_VENV)/bin/python -m pytest -m '' tests/test_federated

# Label Studio's converter, for the test that has it read our export; without
# it that test is skipped.
labelstudio: setup
	@test -e $(LABELSTUDIO_VENV)/complete || ( \
	rm -rf $(LABELSTUDIO_VENV) && \
	$(PYTHON_VENV) -m venv --without-pip $(LABELSTUDIO_VENV) && \
	$(PYTHON_VENV) -m pip --python $(LABELSTUDIO_VENV)/bin/python install -q \
		-r requirements/labelstudio.txt && \
	touch $(LABELSTUDIO_VENV)/complete )

# Seconds per kind of input; there are 16 kinds, two at a time.
FUZZ_SECONDS := 450
fuzz: export FX_MM_FUZZ_SECONDS := $(FUZZ_SECONDS)
fuzz: export FX_MM_FUZZ_REPORT := fuzz.jsonl
fuzz: setup
	$(PYTHON_VENV) -m pytest -n 2 -q tests/test_fuzz \
		-o timeout=$$((2 * $(FUZZ_SECONDS) + 600))

lint: setup
	$(PYTHON_VENV) -m ruff check .
	$(PYTHON_VENV) -m ruff format --check .
	$(PYTHON_VENV) -m mypy

# The generator says that it will have a successor. Not --quiet: what is not
# said does not count as a warning.
docs: export NO_MKDOCS_2_WARNING := 1
docs: setup
	@$(PYTHON_VENV) -c 'import material, mkdocstrings_handlers.python' \
		2>/dev/null || $(PYTHON_VENV) -m pip install -q \
		-r requirements/docs.txt -c requirements/constraints.txt
	$(PYTHON_VENV) -m mkdocs build --strict
	@echo 'The site is build/site/index.html'

format: setup
	$(PYTHON_VENV) -m ruff check --fix .
	$(PYTHON_VENV) -m ruff format .

# An old build/ would leak files that are gone into the wheel.
dist: setup
	rm -rf build dist
	$(PYTHON_VENV) -c "from setuptools.build_meta import build_sdist; \
		build_sdist('dist')"
	$(PYTHON_VENV) -m pip wheel -q --no-deps --no-build-isolation -w dist .

env: setup
	@$(PYTHON_VENV) -m fx_mm.utils.collect_env

clean:
	rm -rf build dist *.egg-info .coverage*
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find fx_mm tools tests configs -name __pycache__ -type d -prune \
		-exec rm -rf {} +

distclean: clean
	rm -rf .venv $(FEDERATED_VENV) $(LABELSTUDIO_VENV)
