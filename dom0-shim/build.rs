//! For the bare-metal target: the linker script, and an image that runs wherever it is put. `-z text` makes the link
//! fail if a relocation in read-only code would remain. On a host there is nothing to say.
fn main() {
    println!("cargo::rerun-if-changed=link.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let script = concat!("-T", env!("CARGO_MANIFEST_DIR"), "/link.ld");
    for arg in [
        script,
        "-pie",
        "--no-dynamic-linker",
        "-ztext",
        "-znorelro",
        "--pack-dyn-relocs=relr",
        "-zmax-page-size=4096",
    ] {
        println!("cargo::rustc-link-arg-bins={arg}");
    }
}
