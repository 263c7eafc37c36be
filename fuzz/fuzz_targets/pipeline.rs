//! Any bytes as a pipeline.yaml.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hyperribbon::hostile::pipeline(bytes));
