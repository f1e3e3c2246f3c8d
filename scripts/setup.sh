#!/bin/sh
# Install what building and testing Tarn needs on a Debian 12 (or newer) machine, and nothing that is there already.
# It never pins a version, never names a package host, and is silent and quick when there is nothing to do.
set -eu

TARGET=aarch64-unknown-none-softfloat
QEMU_MIN=9          # first QEMU with the raspi4b machine
RUST_MIN=89         # 1.89, the floor in Cargo.toml

usage() {
    cat <<'TXT'
usage: scripts/setup.sh [--check] [--tools]

Installs, when missing:
  a Rust compiler that can build for aarch64-unknown-none-softfloat
    (rustup's target where rustup may fetch; else Debian's rustc-web + sources)
  qemu-system-aarch64 (version 9 or newer), dtc, mke2fs, a C linker for programs of this machine,
    clang and lld for the example guest in C

  --check   install nothing; say what is missing and exit 1 if anything is
  --tools   also the lint tools (rustfmt, clippy) for the bare-metal crates

environment:
  HV_TOOLCHAIN=auto|rustup|debian   which compiler route to take (default auto)
  RUSTUP_AUTO_INSTALL=0             fetch nothing by rustup (takes Debian's route)
TXT
}

CHECK=0; TOOLS=0
for a in "$@"; do
    case $a in
        --check) CHECK=1 ;;
        --tools) TOOLS=1 ;;
        -h|--help) usage; exit 0 ;;
        *) echo "setup.sh: unknown option '$a'; see --help" >&2; exit 2 ;;
    esac
done

SUDO=
[ "$(id -u)" = 0 ] || SUDO=sudo
MISSING=0
UPDATED=0
WANTED=
DEBIAN_RUST=0    # Debian's compiler is to be installed and checked

apt_update_once() {
    [ "$UPDATED" = 1 ] && return 0
    echo "setup: refreshing package lists" >&2
    $SUDO apt-get update -qq
    UPDATED=1
}

# Notes packages to install; apt_install installs all of them in one go.
want() {
    if [ "$CHECK" = 1 ]; then
        echo "setup: missing: $*" >&2
        MISSING=1
    else
        WANTED="$WANTED $*"
    fi
}

apt_install() {
    [ -n "$WANTED" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "setup: this machine has no apt-get; please install by hand:$WANTED" >&2
        exit 1
    fi
    apt_update_once
    echo "setup: installing$WANTED" >&2
    # shellcheck disable=SC2086  # a list of packages
    $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $WANTED >/dev/null
}

has_target() {
    root=$("$1" --print sysroot 2>/dev/null) || return 1
    ls "$root/lib/rustlib/$TARGET/lib/"libcore-*.rlib >/dev/null 2>&1
}

debian_ok() {
    [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && command -v ld.lld >/dev/null 2>&1 || return 1
    root=$(/usr/bin/rustc --print sysroot 2>/dev/null) || return 1
    [ -f "$root/lib/rustlib/src/rust/library/Cargo.lock" ] || return 1
    minor=$(/usr/bin/rustc --version | sed -n 's/^rustc 1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge "$RUST_MIN" ]
}

setup_rust() {
    mode=${HV_TOOLCHAIN:-auto}
    if [ "$mode" != debian ] && has_target rustc; then return 0; fi
    if [ "$mode" = rustup ] || { [ "$mode" = auto ] && [ "${RUSTUP_AUTO_INSTALL:-1}" != 0 ] && command -v rustup >/dev/null 2>&1; }; then
        if [ "$CHECK" = 1 ]; then echo "setup: missing: rustup target $TARGET" >&2; MISSING=1; return 0; fi
        echo "setup: rustup target add $TARGET" >&2
        if rustup target add "$TARGET"; then return 0; fi
        if [ "$mode" = rustup ]; then
            echo "setup: rustup could not add $TARGET; HV_TOOLCHAIN=debian takes Debian's compiler instead" >&2
            exit 1
        fi
    fi
    if debian_ok; then return 0; fi
    want rustc-web cargo-web rust-web-src lld
    DEBIAN_RUST=1
}

check_rust() {
    if [ "$CHECK" = 1 ] || [ "$DEBIAN_RUST" = 0 ] || debian_ok; then return 0; fi
    echo "setup: Debian's rustc-web is there but cannot build for $TARGET: 1.$RUST_MIN or newer is needed" >&2
    echo "setup: it comes with the release's security updates; are they among this machine's package sources?" >&2
    exit 1
}

qemu_major() { qemu-system-aarch64 --version 2>/dev/null | sed -n 's/^QEMU emulator version \([0-9]*\)\..*/\1/p'; }

setup_qemu() {
    v=$(qemu_major || true)
    if [ "${v:-0}" -ge "$QEMU_MIN" ]; then return 0; fi
    if [ "$CHECK" = 1 ]; then echo "setup: missing: qemu-system-aarch64 >= $QEMU_MIN" >&2; MISSING=1; return 0; fi
    apt_update_once
    cand=$(apt-cache policy qemu-system-arm | sed -n 's/^  Candidate: [0-9]*:\([0-9]*\)\..*/\1/p')
    if [ "${cand:-0}" -ge "$QEMU_MIN" ]; then want qemu-system-arm ipxe-qemu; return 0; fi
    . /etc/os-release
    suite=$VERSION_CODENAME-backports
    if ! apt-get indextargets --format '$(CODENAME)' | grep -qx "$suite"; then
        # the mirror this machine already uses for its release
        uri=$(apt-get indextargets --format '$(ORIGIN)|$(CODENAME)|$(REPO_URI)' 'Created-By: Packages' |
            awk -F'|' -v c="$VERSION_CODENAME" '$1=="Debian" && $2==c {print $3; exit}')
        if [ -z "$uri" ]; then
            echo "setup: QEMU >= $QEMU_MIN is needed and no Debian package source was found to take $suite from" >&2
            exit 1
        fi
        echo "setup: adding the package source $suite (for QEMU >= $QEMU_MIN)" >&2
        printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
            "$uri" "$suite" | $SUDO tee /etc/apt/sources.list.d/tarn-backports.sources >/dev/null
        $SUDO apt-get update -qq
    fi
    echo "setup: installing qemu-system-arm from $suite" >&2
    # ipxe-qemu: the network boot ROM QEMU looks for even when -net none is given by the machine
    $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -t "$suite" qemu-system-arm ipxe-qemu >/dev/null
}

need() { command -v "$1" >/dev/null 2>&1 || want "$2"; }

setup_rust
setup_qemu
need dtc device-tree-compiler
need gzip gzip
# disks for guests in the tests; often not in a user's PATH
[ -x /sbin/mke2fs ] || need mke2fs e2fsprogs
need cc gcc
# the example guest in C
need clang clang
need ld.lld lld
# gcc alone does not bring the start files that every program of this machine is linked with
[ -e /usr/include/stdlib.h ] || want libc6-dev
# cargo fetches crates over TLS
[ -e /etc/ssl/certs/ca-certificates.crt ] || want ca-certificates
if [ "$TOOLS" = 1 ] && ! has_target rustc; then
    [ -x /usr/bin/rustfmt ] || want rustfmt-web
    [ -x /usr/bin/cargo-clippy ] || want rust-web-clippy
fi
apt_install
check_rust
exit "$MISSING"
