# eQmail. `make` builds, `make help` lists the targets.

RUN := ./bootstrap
RUN_TEST := ./bootstrap --test

# The conf-* files here choose where no option does; eqmail itself believes them only where they are named.
CONF := $(if $(wildcard conf-build conf-qmail conf-break conf-split conf-spawn conf-patrn conf-users conf-groups),--conf .)
HOME_OPTION := $(if $(wildcard conf-qmail),--home "$$(head -n 1 conf-qmail)")

.PHONY: build help users setup check house dev demo test fuzz reliability docs screens docs-check clean

build:
	@$(RUN)

help:
	@echo 'make                 an environment with eqmail in it'
	@echo 'make users           create the groups and users (root)'
	@echo 'make setup           install into the home of conf-qmail, /var/qmail by default (root)'
	@echo 'make setup check     install, then compare the installation with its table'
	@echo 'make check           house checks: format, lint, types, fast tests, documentation'
	@echo 'make demo            a private installation at work; needs no root'
	@echo 'make test            all tests'
	@echo 'make fuzz            a minute of inputs that nobody should send'
	@echo 'make reliability     crashes, power cuts, failing and full disks; HOURS=n runs it for about that long (root)'
	@echo 'make dev             an environment for working on eqmail'
	@echo 'make docs            render docs/reference from the declarations'
	@echo 'make screens         show in docs/ what the commands say, by running them'
	@echo 'make docs-check      say whether docs/reference is up to date'
	@echo 'make clean           remove what these targets made here'

users: build
	@$(RUN) eqmail $(HOME_OPTION) mkusers $(CONF)

setup: build
	@$(RUN) eqmail $(HOME_OPTION) setup $(CONF)

# The page of (e)qmail says `make setup check`; there, check looks at the installation, as C's does.
ifneq ($(filter setup,$(MAKECMDGOALS)),)
check: setup
	@$(RUN) eqmail $(HOME_OPTION) check
else
check: house
	@$(RUN_TEST) python -m pytest -n 4 -m 'not slow and not root'
endif

house:
	@$(RUN_TEST) sh .ci/house

dev:
	@$(RUN_TEST)

demo:
	@./demo

test:
	@./test

fuzz:
	@$(RUN_TEST) python -m tests.fuzz --seconds 60

reliability:
	@$(RUN_TEST) python -m tests.reliability all --hours $(or $(HOURS),0.1)

docs:
	@$(RUN) eqmail reference docs/reference

screens:
	@$(RUN_TEST) python -m tests.support.screens docs
	@$(RUN_TEST) python -m tests.support.bad_inputs docs/answers.md

docs-check:
	@$(RUN) eqmail reference docs/reference --check

clean:
	rm -rf .venv .demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
