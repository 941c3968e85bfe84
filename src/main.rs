//! The command `rowback`.

fn main() {}
