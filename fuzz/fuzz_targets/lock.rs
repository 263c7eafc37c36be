//! Any bytes as a pipeline.lock.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hyperribbon::hostile::lock(bytes));
