//! Writes the part of docs/hardening.md with the results: kinds by verdicts, and where the four proxies differ.
//! `TIDEGATE_WRITE_REPORT=1` rewrites it.

use crate::case::Case;
use crate::exchange::Seen;
use crate::judge::{is_stopped, verdict_of};
use std::fmt::Write;
use tidegate_testing::peers;

pub(crate) struct Row<'r> {
    pub case: &'r Case,
    pub ours: &'r Seen,
    /// nginx, HAProxy, Caddy.
    pub peers: [&'r Seen; 3],
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hardening.md");
const BEGIN: &str = "<!-- written by tests/responses -->\n";
const END: &str = "<!-- end of the responses -->\n";

/// Compares what the file says with what was seen. Other versions of the peers may judge otherwise, so only those
/// that the file names are held to it.
pub(crate) fn check(rows: &[Row<'_>]) {
    let text = std::fs::read_to_string(FILE).expect("docs/hardening.md");
    let (before, rest) = text.split_once(BEGIN).expect("a place for the table");
    let (written, behind) = rest.split_once(END).expect("its end");
    let seen = tables(rows);
    if std::env::var_os("TIDEGATE_WRITE_REPORT").is_some() {
        std::fs::write(FILE, format!("{before}{BEGIN}{seen}{END}{behind}")).expect("written");
        return;
    }
    if written.lines().next() != seen.lines().next() {
        eprintln!("docs/hardening.md is of other versions or cases: {:?}", seen.lines().next());
        let count = format!("{} answers", rows.len());
        assert!(written.starts_with(&count), "docs/hardening.md does not tell of {count}");
        return;
    }
    assert!(
        written == seen,
        "docs/hardening.md is not what was seen; TIDEGATE_WRITE_REPORT=1 writes it anew:\n{seen}"
    );
}

/// Whether the file says what was seen, or is about to.
pub(crate) fn is_as_written(rows: &[Row<'_>]) -> bool {
    let is_written_anew = std::env::var_os("TIDEGATE_WRITE_REPORT").is_some();
    is_written_anew || std::fs::read_to_string(FILE).is_ok_and(|text| text.contains(&tables(rows)))
}

fn tables(rows: &[Row<'_>]) -> String {
    let [nginx, haproxy, caddy] = peers::RESPONSE_PEERS.map(|it| it.version().unwrap_or_default());
    let mut text = format!(
        "{} answers, with nginx {nginx}, HAProxy {haproxy} and Caddy {caddy}.\n\n",
        rows.len()
    );
    text.push_str("| kind | answers | Tidegate refuses or cuts off | nginx | HAProxy | Caddy |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    let mut kinds: Vec<&str> = rows.iter().map(|row| row.case.kind).collect();
    kinds.dedup();
    for kind in kinds {
        let of_kind: Vec<&Row<'_>> = rows.iter().filter(|row| row.case.kind == kind).collect();
        let stopped =
            |pick: &dyn Fn(&Row<'_>) -> bool| of_kind.iter().filter(|row| pick(row)).count();
        let _ = writeln!(
            text,
            "| {kind} | {} | {} | {} | {} | {} |",
            of_kind.len(),
            stopped(&|row| is_stopped(row.ours)),
            stopped(&|row| is_stopped(row.peers[0])),
            stopped(&|row| is_stopped(row.peers[1])),
            stopped(&|row| is_stopped(row.peers[2])),
        );
    }
    text.push_str("\nWhere they differ:\n\n");
    text.push_str("| kind | answer | RFC | Tidegate | nginx | HAProxy | Caddy |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    for row in rows {
        let ours = verdict_of(row.ours);
        let [nginx, haproxy, caddy] = row.peers.map(verdict_of);
        if [nginx, haproxy, caddy].iter().any(|peer| *peer != ours) {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {ours} | {nginx} | {haproxy} | {caddy} |",
                row.case.kind, row.case.name, row.case.rfc
            );
        }
    }
    text
}
