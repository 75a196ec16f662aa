//! The corpus of upstream responses, one file for each kind. Knows no proxy.

mod bodiless;
mod chunks;
mod codings;
mod fields;
mod interim;
mod lengths;
mod sequences;
mod status_lines;

use crate::case::Case;

pub(crate) fn all() -> Vec<Case> {
    let kinds: [(&str, Vec<Case>); 8] = [
        ("status line", status_lines::cases()),
        ("Content-Length", lengths::cases()),
        ("Transfer-Encoding", codings::cases()),
        ("chunks", chunks::cases()),
        ("no body by definition", bodiless::cases()),
        ("interim answers and upgrades", interim::cases()),
        ("fields", fields::cases()),
        ("more than one answer", sequences::cases()),
    ];
    let with_kind = |(kind, cases): (&'static str, Vec<Case>)| {
        cases.into_iter().map(move |case| Case { kind, ..case })
    };
    kinds.into_iter().flat_map(with_kind).collect()
}
