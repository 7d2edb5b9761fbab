# SPDX-License-Identifier: Apache-2.0
# The commands that people type. What they do is in CMakePresets.json and scripts/.

BUILD := build
LINT_BUILD := build-clang
SOURCES = $(shell git ls-files '*.h' '*.cc')

.PHONY: help setup configure demo test test-slow bench format check-format lint clean

help:
	@echo "make demo       install packages, build, make pictures in demo/"
	@echo "make test       install packages, build, run the fast tests"
	@echo "make test-slow  the same for the tests with the label slow"
	@echo "make bench      time generation with a bundled model"
	@echo "make format     format the sources with clang-format"
	@echo "make lint       check formatting, run clang-tidy"
	@echo "make setup      only install the packages that building needs"
	@echo "make clean      remove build folders and demo/"

setup:
	@scripts/setup.sh

configure: setup
	@test -f $(BUILD)/build.ninja || cmake --preset release

demo: configure
	cmake --build $(BUILD) --target nextscale
	scripts/demo.sh $(BUILD) demo

test: configure
	cmake --build $(BUILD)
	ctest --test-dir $(BUILD) --output-on-failure -j2 -LE slow

test-slow: configure
	cmake --build $(BUILD)
	ctest --test-dir $(BUILD) --output-on-failure -L slow

bench: configure
	cmake --build $(BUILD) --target nextscale
	scripts/bench.sh $(BUILD)

format:
	@scripts/setup.sh --dev
	clang-format-14 -i $(SOURCES)

check-format:
	clang-format-14 --dry-run -Werror $(SOURCES)

lint:
	@scripts/setup.sh --dev
	@$(MAKE) --no-print-directory check-format
	@test -f $(LINT_BUILD)/build.ninja || cmake --preset clang
	run-clang-tidy-14 -quiet -p $(LINT_BUILD)

clean:
	rm -rf build build-debug build-asan build-tsan build-clang build-fuzz demo
