# Two commands matter: `make demo` shows the system, `make test` proves it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON_BIN := .venv/bin/python
.PHONY: help setup setup-browser demo test test-long-stop screenshot check assets bench bench-quick bench-scenarios lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

setup: ## virtual environment, PostgreSQL with PostGIS, Mosquitto
	@scripts/setup_venv
	@$(PYTHON_BIN) scripts/setup_system.py services

setup-browser: setup ## what the browser tests need on top
	@$(PYTHON_BIN) scripts/setup_system.py browser

assets: setup ## map data, styles and scripts of the console, from packages
	@scripts/build_assets

demo: setup assets ## the whole stack with a simulated fleet; Ctrl-C ends it
	@.venv/bin/tracker demo --data var/demo

test: setup setup-browser assets ## every test, on the real database, broker and browser
	@$(PYTHON_BIN) -m pytest

test-long-stop: setup ## ten minutes without the database, under load, three times
	@FAULT_STOP_S=600 $(PYTHON_BIN) -m pytest -q tests/fault -k long_stop_of_the_database --timeout 1200

screenshot: setup setup-browser assets ## pictures of every page; the map's into the README
	@$(PYTHON_BIN) -m pytest -q tests/browser/test_screenshots.py
	@cp var/screenshots/map-1440.jpg docs/screenshot.jpg

check: setup ## format, lint, types, layers
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@$(PYTHON_BIN) -m pytest -q tests/architecture

bench: setup ## all benchmarks, with their floors
	@$(PYTHON_BIN) -m bench

bench-quick: setup ## the benchmarks with small loads
	@$(PYTHON_BIN) -m bench --quick

bench-scenarios: setup ## how good detection is: 1,000 deliveries against their truth
	@$(PYTHON_BIN) -m bench.scenarios

lock: ## new lock files from pyproject.toml (needs uv)
	@scripts/lock

clean: ## remove everything set-up has made; DIRs given to `tracker up` stay
	@scripts/clean
