#![no_main]

#[allow(dead_code)]
#[path = "../targets.rs"]
mod targets;

// The connection contains a panic of the library that unpacks a packet, and ends. libFuzzer's own hook would take that
// for a fault. A panic that leaves the target still ends the process.
libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(|_| ())),
    |data: &[u8]| targets::run("dialogue", data)
);
