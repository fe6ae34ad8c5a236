#[allow(dead_code)]
mod workers;
fn main() {}
