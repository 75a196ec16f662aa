//! What the fuzzer tries for hours (`make fuzz`), tried here for seconds: every property of
//! `fuzz/src/lib.rs` over good inputs and thousands of damaged ones. The same ones each time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg(unix)]

mod seeds;

use std::panic::catch_unwind;

/// Damaged inputs for each property.
const INPUTS: u64 = 4_000;

/// For those that read whole files, which takes longer.
const FILES: u64 = 400;

/// Pieces that mean something to one parser or another.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\t",
    b" ",
    b"%",
    b"%2f",
    b"%00",
    b"..",
    b"/../",
    b"//",
    b"\\",
    b"\"",
    b"'",
    b"{",
    b"}",
    b"{{",
    b"}}",
    b"[",
    b"]",
    b"::",
    b":",
    b";",
    b",",
    b"=",
    b"&",
    b"?",
    b"#",
    b"*",
    b"@",
    b"${A:-",
    b"&a",
    b"*a",
    b"- ",
    b"|\n",
    b"\xff",
    b"\xc3",
    b"\xf0\x9f\x8c\x8a",
    b"token",
    b"token=",
    b"18446744073709551616",
    b"-1",
    b"0",
    b"ffffffffffffffff",
    b"W/",
    b"q=",
    b";q=0",
    b"\x81",
    b"\x88",
    b"\xc1",
    b"\x7e",
    b"\x7f",
];

/// Numbers that look like chance (SplitMix64), and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// A part of so many bytes.
    fn part(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(64) + 1)
    }

    /// A good input with a few things done to it.
    fn damaged(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(6) {
            let part = self.part(input.len());
            match self.below(7) {
                0 => drop(input.drain(part)),
                1 => drop(input.splice(part, PIECES[self.below(PIECES.len())].iter().copied())),
                2 => input.truncate(part.start),
                3 => {
                    let copy = input[part.clone()].to_vec();
                    drop(input.splice(part.end..part.end, copy.repeat(1 + self.below(8))));
                }
                4 => {
                    let other = &seeds[self.below(seeds.len())];
                    let piece = other[self.part(other.len())].to_vec();
                    drop(input.splice(part, piece));
                }
                5 => input
                    .iter_mut()
                    .skip(part.start)
                    .take(1)
                    .for_each(|byte| *byte ^= 1 << (part.end % 8)),
                _ => input.splice(part.start..part.start, [self.next() as u8]).for_each(drop),
            }
        }
        input
    }
}

/// The first input for which a property does not hold.
fn breaks(name: &str, property: fn(&[u8]), inputs: u64) -> Option<String> {
    let seeds = seeds::seeds_for(name);
    let mut numbers = Numbers(name.bytes().map(u64::from).sum());
    let damaged = (0..inputs).map(|_| numbers.damaged(&seeds)).collect::<Vec<_>>();
    let broken = |input: &&Vec<u8>| catch_unwind(|| property(input)).is_err();
    let input = seeds.iter().chain(&damaged).find(broken)?;
    Some(format!("{name} does not hold for \"{}\"", input.escape_ascii()))
}

#[test]
fn every_fuzz_property_holds_for_thousands_of_inputs() {
    let broken: Vec<_> = tidegate_fuzz::ALL
        .iter()
        .filter_map(|(name, property)| {
            let is_slow = ["config", "import"].contains(name);
            breaks(name, *property, if is_slow { FILES } else { INPUTS })
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

#[test]
fn fuzz_properties_and_targets_correspond() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut targets: Vec<_> = std::fs::read_dir(folder)
        .expect("the targets")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    targets.sort();
    let mut known = tidegate_fuzz::ALL.map(|(name, _)| name);
    known.sort_unstable();
    assert_eq!(targets, known);
}
