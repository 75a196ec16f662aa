//! docs/doctor.md lists the doctor's codes, and a test covers each code.

use tidegate_doctor::DiagnosisCode;

/// Read when the test runs: what the image is built from has no docs.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/doctor.md");

/// What no server here can bring about: the built-in filters do not fail.
const NOT_MET: [&str; 1] = ["gateway-error"];

const MATRIX: [&str; 7] = [
    include_str!("connecting.rs"),
    include_str!("through_the_gateway.rs"),
    include_str!("handshake.rs"),
    include_str!("intermediate_proxies.rs"),
    include_str!("origin.rs"),
    include_str!("session.rs"),
    include_str!("healthy.rs"),
];

#[test]
fn doctor_page_lists_every_code_with_its_meaning() {
    let page = std::fs::read_to_string(PAGE).expect("the page");
    let listed: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let own: Vec<String> = DiagnosisCode::ALL
        .iter()
        .map(|code| format!("| `{}` | {} | {} |", code.name(), code.what(), code.advice()))
        .collect();
    assert_eq!(listed, own, "docs/doctor.md is to hold:\n{}", own.join("\n"));
}

#[test]
fn every_doctor_code_is_covered_by_a_test() {
    for code in DiagnosisCode::ALL {
        let name = format!("\"{}\"", code.name());
        let is_met = MATRIX.iter().any(|file| file.contains(&name));
        assert_ne!(is_met, NOT_MET.contains(&code.name()), "{name}");
    }
}
