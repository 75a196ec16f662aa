//! A path that is let through is normal: no dot segments, no empty ones, and stays as it is.
#![no_main]

libfuzzer_sys::fuzz_target!(|path: &str| {
    if let Ok(normal) = tidegate::internals::normalize(path) {
        assert!(normal.starts_with('/') && !normal.contains("//"));
        assert!(normal.split('/').all(|segment| segment != "." && segment != ".."));
        assert_eq!(tidegate::internals::normalize(&normal).as_deref(), Ok(&*normal));
    }
});
