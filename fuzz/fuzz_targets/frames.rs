//! However a tunnel's bytes are split, the same frames are seen in them.
#![no_main]

use tidegate::internals::{Event, Scanner, Side};

/// What is seen, payloads by their lengths alone, for a split cuts them elsewhere.
fn seen(side: Side, deflate: bool, bytes: &[u8], split: usize) -> (Vec<String>, usize) {
    let mut scanner = Scanner::new(side, deflate);
    let (mut events, mut payload) = (Vec::new(), 0);
    for part in bytes.chunks(split) {
        let taken = scanner.feed(part, |event, _| {
            match event {
                Event::Payload(part) => payload += part.len(),
                event => events.push(format!("{payload} {event:?}")),
            }
            true
        });
        assert_eq!(taken, part.len());
    }
    (events, payload)
}

libfuzzer_sys::fuzz_target!(|input: (bool, bool, u8, &[u8])| {
    let (client, deflate, split, bytes) = input;
    let side = if client { Side::Client } else { Side::Upstream };
    let whole = seen(side, deflate, bytes, bytes.len().max(1));
    assert_eq!(whole, seen(side, deflate, bytes, usize::from(split).max(1)));
});
