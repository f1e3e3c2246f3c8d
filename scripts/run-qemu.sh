#!/bin/sh
# Start Tarn in QEMU; installs what is missing first. scripts/run-qemu.sh --help lists the options.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh
exec cargo xtask run "$@"
