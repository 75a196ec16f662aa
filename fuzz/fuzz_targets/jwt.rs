//! Fuzzes the property `jwt`; see `src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidegate_fuzz::tokens(bytes));
