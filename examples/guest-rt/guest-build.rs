//! Build script shared by every guest (`build = ".../guest-rt/guest-build.rs"` in its manifest).
//!
//! For the bare-metal target it passes the linker script of `guest-rt` and asks for a position-independent image
//! without dynamic linker; `-z text` makes the link fail if a relocation in read-only code would remain. On a host
//! target it does nothing, so that `cargo check --workspace` sees an empty program.
fn main() {
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let script =
        std::env::var("DEP_GUEST_RT_LINK_SCRIPT").expect("a guest must depend on guest-rt");
    println!("cargo::rerun-if-changed={script}");
    let script = format!("-T{script}");
    for arg in [
        &script,
        "-pie",
        "--no-dynamic-linker",
        "-ztext",
        "-znorelro",
        "-zmax-page-size=4096",
    ] {
        println!("cargo::rustc-link-arg-bins={arg}");
    }
}
