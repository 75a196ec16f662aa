//! Any text is either a good configuration or told to be a bad one.
#![no_main]

libfuzzer_sys::fuzz_target!(|yaml: &str| {
    if let Err(problems) = tidegate::Config::from_yaml(yaml).check() {
        assert!(!problems.to_string().is_empty());
    }
});
