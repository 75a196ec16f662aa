//! Writes the part of docs/hardening.md with the results: kinds by verdicts, and where the three proxies differ.
//! `TIDEGATE_WRITE_REPORT=1` rewrites it.

use crate::case::Case;
use crate::exchange::Seen;
use std::fmt::Write;
use tidegate_testing::peers;

pub(crate) struct Row<'r> {
    pub case: &'r Case,
    pub ours: &'r Seen,
    pub nginx: &'r Seen,
    pub haproxy: &'r Seen,
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hardening.md");
const BEGIN: &str = "<!-- written by tests/smuggling -->\n";
const END: &str = "<!-- end -->\n";

/// Compares what the file says with what was seen. Other versions of nginx and HAProxy may
/// judge otherwise, so only those that the file names are held to it.
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
        let count = format!("{} cases", rows.len());
        assert!(written.starts_with(&count), "docs/hardening.md does not tell of {count}");
        return;
    }
    assert!(
        written == seen,
        "docs/hardening.md is not what was seen; TIDEGATE_WRITE_REPORT=1 writes it anew:\n{seen}"
    );
}

fn tables(rows: &[Row<'_>]) -> String {
    let [nginx, haproxy] = peers::REQUEST_PEERS.map(|peer| peer.version().unwrap_or_default());
    let mut text = format!("{} cases, with nginx {nginx} and HAProxy {haproxy}.\n\n", rows.len());
    text.push_str("| kind | cases | Tidegate refuses | nginx | HAProxy |\n|---|---|---|---|---|\n");
    let mut kinds: Vec<&str> = rows.iter().map(|row| row.case.kind).collect();
    kinds.dedup();
    for kind in kinds {
        let of_kind: Vec<&Row<'_>> = rows.iter().filter(|row| row.case.kind == kind).collect();
        let refused =
            |pick: fn(&Row<'_>) -> usize| of_kind.iter().filter(|row| pick(row) == 0).count();
        let _ = writeln!(
            text,
            "| {kind} | {} | {} | {} | {} |",
            of_kind.len(),
            refused(|row| row.ours.forwarded()),
            refused(|row| row.nginx.forwarded()),
            refused(|row| row.haproxy.forwarded()),
        );
    }
    text.push_str("\nWhere they differ:\n\n");
    text.push_str(
        "| kind | case | RFC | Tidegate | nginx | HAProxy |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let [ours, nginx, haproxy] = [row.ours, row.nginx, row.haproxy].map(verdict);
        if ours != nginx || ours != haproxy {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {ours} | {nginx} | {haproxy} |",
                row.case.kind, row.case.name, row.case.rfc
            );
        }
    }
    text.push_str("\nTaken though both refuse:\n\n");
    let mut excuses: Vec<&str> = rows.iter().filter_map(|row| row.case.excuse).collect();
    excuses.dedup();
    for excuse in excuses {
        let excused = rows.iter().filter(|row| row.case.excuse == Some(excuse));
        let names: Vec<&str> = excused.map(|row| row.case.name).collect();
        let _ = writeln!(text, "- {}. {excuse}.", names.join("; "));
    }
    text
}

fn verdict(seen: &Seen) -> String {
    match (seen.forwarded(), &seen.broken) {
        (0, None) => "refused".to_owned(),
        (1, None) => "passed on".to_owned(),
        (count, None) => format!("passed on as {count}"),
        (_, Some(_)) => "passed on as it came".to_owned(),
    }
}
