//! Any bytes as what a stage prints.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hyperribbon::hostile::events(bytes));
