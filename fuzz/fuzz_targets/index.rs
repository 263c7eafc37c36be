//! Any bytes as the index of a store.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hyperribbon::hostile::index(bytes));
