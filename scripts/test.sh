#!/bin/sh
# Run the tests; installs what is missing first. The last line is the count. scripts/test.sh --help lists the options.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh --tools
exec cargo xtask test "$@"
