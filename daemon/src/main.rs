#[allow(dead_code, unused_imports)]
mod workers;
fn main() {}
