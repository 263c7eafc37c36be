//! Any bytes as a record on a share.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    hyperribbon::hostile::bundle(bytes);
});
