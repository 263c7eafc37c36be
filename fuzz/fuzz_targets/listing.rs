//! Any bytes as a folder's listing.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hyperribbon::hostile::listing(bytes));
