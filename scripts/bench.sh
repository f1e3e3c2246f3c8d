#!/bin/sh
# Measure and compare with the budgets; installs what is missing first. scripts/bench.sh --help lists the options.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh
exec cargo xtask bench "$@"
