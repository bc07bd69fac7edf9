# Two commands matter: `make loop` and `make test`. Each sets up what it needs, inside this folder.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

export UV_PYTHON_DOWNLOADS := never
export SAM_CLI_TELEMETRY := 0
export PATH := $(CURDIR)/.tools/bin:$(PATH)
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv

UV_VERSION := 0.13.8
SAM_VERSION := 1.170.0
PY := .venv/bin/python
UV := .tools/bin/uv

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: setup
setup: .venv/.done .tools/sam/.done ## Install everything into .venv and .tools (nothing global)

.tools/bin/uv:
	@mkdir -p .tools/bin
	python3 -m venv .tools/uv
	.tools/uv/bin/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	@ln -sf ../uv/bin/uv .tools/bin/uv

.venv/.done: pyproject.toml uv.lock | .tools/bin/uv
	UV_COMPILE_BYTECODE=1 $(UV) sync --frozen -q
	@touch $@

# The SAM CLI pins boto3 and click exactly: it lives in an environment of its own.
.tools/sam/.done: | .tools/bin/uv
	$(UV) venv -q --allow-existing .tools/sam
	$(UV) pip install -q --compile-bytecode --python .tools/sam/bin/python aws-sam-cli==$(SAM_VERSION)
	@ln -sf ../sam/bin/sam .tools/bin/sam
	@touch $@

.PHONY: loop
loop: ## Run the whole loop on this machine, on emulated AWS
	@start=$$(date +%s); $(MAKE) --no-print-directory setup && \
	EVERGREEN_SETUP_SECONDS=$$(($$(date +%s) - start)) $(PY) -m local loop $(ARGS)

.PHONY: up
up: setup ## Start the local stack and deploy the template into it; Ctrl-C stops it
	$(PY) -m local up $(ARGS)

.PHONY: test
test: setup lint ## Lint, then every test
	$(PY) -m pytest $(ARGS)

.PHONY: bench-monitor
bench-monitor: setup ## The analyser beside its peers, each in an environment of its own
	$(PY) -m tests.bench.monitor $(ARGS)

.PHONY: bench-decide
bench-decide: setup ## A year of 1,000 simulated models: the decisions beside two simple policies
	$(PY) -m tests.bench.decide $(ARGS)

.PHONY: bench-answers
bench-answers: setup ## How often the alarm on answers goes off, for sound and broken versions of the example
	$(PY) -m tests.bench.answers $(ARGS)

.venv-sdk/.done: pyproject.toml uv.lock | .tools/bin/uv
	UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-sdk $(UV) sync --frozen -q --group sdk
	@touch $@

.PHONY: test-sdk
test-sdk: .venv-sdk/.done ## AWS's own SageMaker SDK against the local stack (an environment of 1 GB)
	.venv-sdk/bin/python -m pytest tests/sdk -W ignore::DeprecationWarning $(ARGS)

.PHONY: lint
lint: setup ## ruff, cfn-lint (source and translated), the state machines, sam validate
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m tests.lint

.PHONY: format
format: setup ## Format and fix what ruff can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

.PHONY: image
image: ## Build the job image and push it: make image REPOSITORY=<account>.dkr.ecr.<region>.amazonaws.com/evergreen-jobs
	@test -n "$(REPOSITORY)" || { echo "REPOSITORY is missing: $$(grep -oE 'make image REPOSITORY=.*' Makefile | head -1)"; exit 2; }
	docker build --platform linux/amd64 -f jobs/Dockerfile -t $(REPOSITORY):$$(git rev-parse --short HEAD) .
	docker push $(REPOSITORY):$$(git rev-parse --short HEAD)

.PHONY: publish
publish: setup ## Publish a model folder: make publish MODEL=models/flights STACK=evergreen
	$(PY) -m models.publish $(or $(MODEL),models/flights) --stack $(or $(STACK),evergreen)

.PHONY: build
build: setup ## sam build
	.tools/bin/sam build

.PHONY: deploy
deploy: build ## Deploy to your AWS account (asks for each parameter)
	.tools/bin/sam deploy --guided

.PHONY: clean
clean: ## Remove build output and the local stack's state
	rm -rf .aws-sam out .cache .pytest_cache .ruff_cache

.PHONY: distclean
distclean: clean ## Remove the environments too
	rm -rf .venv .venv-sdk .tools
