//! Tells dependent packages where the linker script is (they see it as `DEP_GUEST_RT_LINK_SCRIPT`).
fn main() {
    println!(
        "cargo::metadata=link_script={}/link.ld",
        env!("CARGO_MANIFEST_DIR")
    );
    println!("cargo::rerun-if-changed=link.ld");
}
