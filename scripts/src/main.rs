//! scripts.
fn main() {}
