//! Hands the linker script to the linker when building for the bare machine; does nothing on the host.

fn main() {
    println!("cargo:rerun-if-changed=src/arch/link.ld");
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    for arg in [
        format!("-T{dir}/src/arch/link.ld"),
        "-pie".into(),
        "--no-dynamic-linker".into(),
        "-znotext".into(),
        "-znorelro".into(),
        "--pack-dyn-relocs=relr".into(),
        "--gc-sections".into(),
        "--build-id=none".into(),
    ] {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
}
