//! The corpus of raw requests, one file for each kind, over HTTP/1.1 and HTTP/2. Knows no proxy.

mod chunks;
mod codings;
mod fields;
mod hops;
mod hosts;
mod http2;
mod lengths;
mod line_ends;
mod methods;
mod pipelines;
mod request_lines;
mod upgrades;

use crate::case::Case;

pub(crate) fn all() -> Vec<Case> {
    let kinds: [(&'static str, Vec<Case>); 11] = [
        ("Content-Length", lengths::cases()),
        ("Transfer-Encoding", codings::cases()),
        ("chunks and trailers", chunks::cases()),
        ("line ends and control characters", line_ends::cases()),
        ("field names and values", fields::cases()),
        ("request line", request_lines::cases()),
        ("Host and target", hosts::cases()),
        ("hop by hop, Connection", hops::cases()),
        ("methods and Expect", methods::cases()),
        ("upgrades", upgrades::cases()),
        ("pipelining", pipelines::cases()),
    ];
    let tagged = kinds
        .into_iter()
        .flat_map(|(kind, cases)| cases.into_iter().map(move |case| Case { kind, ..case }));
    tagged.collect()
}

/// Frames over HTTP/2, from the first head on.
pub(crate) fn http2() -> Vec<Case> {
    http2::cases().into_iter().map(|case| Case { kind: "HTTP/2", ..case }).collect()
}
