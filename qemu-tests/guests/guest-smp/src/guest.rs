//! Empty.
guest_rt::entry!(main);
fn main() {}
