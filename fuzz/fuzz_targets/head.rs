//! Fuzzes the property `head`; see `src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidegate_fuzz::head_and_fields(bytes));
