//! qemu-tests.
fn main() {}
