//! `cargo xtask build` and `cargo xtask linux`: make or fetch what a machine boots.

use xtask::args::{Spec, switch};
use xtask::{firmware, images, linux, system};

use super::{Outcome, with_options};

const BUILD: Spec = Spec {
    command: "cargo xtask build",
    about: "Build the dom0 shim, the guests and the hypervisor, and make flat images of them in target/images; build\n\
            tarn-image, which packs them, in target/debug.",
    options: &[
        switch("--debug", "without optimisation, with overflow checks"),
        switch("--guests", "only the guests"),
        switch("--hv", "only the hypervisor, around the guests there are"),
        switch("--quiet", "print nothing when all is well"),
    ],
    rest: None,
    notes: "environment:\n  HV_TOOLCHAIN=auto|rustup|debian   which compiler\n  TARN_TARGET=DIR                   instead of target",
};

/// `cargo xtask build`.
pub fn main(args: &[String]) -> Outcome {
    with_options(&BUILD, args, |parsed| {
        images::build(images::Options {
            debug: parsed.has("--debug"),
            guests_only: parsed.has("--guests"),
            hv_only: parsed.has("--hv"),
            say: if parsed.has("--quiet") {
                images::Say::Nothing
            } else {
                images::Say::Everything
            },
        })
        .and_then(|()| system::build_tool())
        .into()
    })
}

const LINUX: Spec = Spec {
    command: "cargo xtask linux",
    about: "Fetch Debian's arm64 kernel and make the root file system that --linux and the tests use; fetch the device tree\n\
            of the Raspberry Pi 4 and U-Boot.",
    options: &[],
    rest: None,
    notes: "environment:\n  TARN_CACHE=DIR   instead of cache",
};

/// `cargo xtask linux`.
pub fn linux(args: &[String]) -> Outcome {
    with_options(&LINUX, args, |_| {
        firmware::provide()
            .and_then(|()| linux::provide())
            .map(|linux| println!("{}\n{}", linux.kernel.display(), linux.initrd.display()))
            .into()
    })
}
