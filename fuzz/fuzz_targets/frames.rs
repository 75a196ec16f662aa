//! However a tunnel's bytes are split, the same close frame is found.
#![no_main]

use tidegate::internals::Scanner;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let whole = Scanner::default().feed(bytes);
    let mut scanner = Scanner::default();
    let found = bytes.chunks(1).find_map(|byte| scanner.feed(byte));
    assert_eq!(whole, found);
});
