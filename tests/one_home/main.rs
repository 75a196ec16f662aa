//! A fact has one home, which everything else reads: names of headers, codes of errors, keys of the access log, paths
//! of the admin endpoint, the word in the place of a secret.
//! A source that writes such a name out again fails here.
//!
//! Tests are left out: they say what must come out, in words of their own. So are `crates/tidegate-testing`, a witness
//! that must not agree with a wrong name, `crates/tidegate-import`, whose words are those of other programs, and the
//! service of `tidegate demo`, which is not the gateway.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../module_graph/tokens.rs"]
mod tokens;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tidegate_http::error_code::ErrorCode;
use tokens::tokens;

/// The folders whose sources are read.
const FOLDERS: [&str; 5] = [
    "src",
    "crates/tidegate-config/src",
    "crates/tidegate-disk/src",
    "crates/tidegate-doctor/src",
    "crates/tidegate-http/src",
];

/// Not the gateway.
const DEMO: &str = "src/demo";

/// A text in a source.
struct Text {
    file: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The texts of all sources, without those of tests.
fn texts() -> Vec<Text> {
    let mut texts = Vec::new();
    for folder in FOLDERS {
        let pattern = format!("{}/{folder}/**/*.rs", root().display());
        for path in glob::glob(&pattern).expect("a pattern").map(|path| path.expect("a path")) {
            let file = path.strip_prefix(root()).expect("a source").display().to_string();
            if !is_test(&file) && !file.starts_with(DEMO) {
                let source = std::fs::read_to_string(&path).expect("a source");
                texts.extend(
                    texts_of(&source).into_iter().map(|text| Text { file: file.clone(), text }),
                );
            }
        }
    }
    assert!(texts.len() > 1000, "{} texts", texts.len());
    texts
}

fn texts_of(source: &str) -> Vec<String> {
    let tokens = tokens(source);
    tokens.iter().filter_map(|token| token.strip_prefix('"')).map(str::to_owned).collect()
}

/// Whether a file holds tests alone: `mod tests;` is behind `#[cfg(test)]`.
fn is_test(file: &str) -> bool {
    let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == "tests.rs" || file.contains("/tests/")
}

/// The texts outside of `home` for which `is_known` holds, each with its file.
fn elsewhere(texts: &[Text], home: &str, is_known: impl Fn(&str) -> bool) -> Vec<String> {
    let strays = texts.iter().filter(|it| it.file != home && is_known(&it.text));
    strays.map(|it| format!("{}: {:?}", it.file, it.text)).collect()
}

fn assert_one_home(texts: &[Text], home: &str, is_known: impl Fn(&str) -> bool) {
    let strays = elsewhere(texts, home, is_known);
    assert!(strays.is_empty(), "use the constants of {home}:\n{}", strays.join("\n"));
}

/// A planted text is found wherever it is, except in its home and in tests.
fn assert_planted_is_found(planted: &str, home: &str, is_known: impl Fn(&str) -> bool) {
    let code = format!("fn f() {{ g({planted:?}, b{planted:?}, r#{planted:?}#); }}\n");
    let source = format!("// {planted:?}\n{code}#[cfg(test)]\nmod tests {{ {code} }}\n");
    let plant = |file: &str| -> Vec<Text> {
        let texts = texts_of(&source).into_iter();
        texts.map(|text| Text { file: file.to_owned(), text }).collect()
    };
    assert_eq!(elsewhere(&plant("src/planted.rs"), home, &is_known).len(), 3, "{planted}");
    assert!(elsewhere(&plant(home), home, &is_known).is_empty(), "{planted}");
}

/// Where names of headers are that the `http` crate does not have, and those that are written otherwise.
const HEADER_NAMES: &str = "crates/tidegate-http/src/header_name.rs";

/// Names of `http::header`, as far as they are of several words. One word (`host`, `upgrade`) has many meanings.
const STANDARD_HEADERS: &str = "accept-charset accept-encoding accept-language accept-ranges \
    access-control-allow-credentials access-control-allow-headers access-control-allow-methods \
    access-control-allow-origin access-control-expose-headers access-control-max-age \
    access-control-request-headers access-control-request-method alt-svc cache-control cache-status \
    cdn-cache-control content-disposition content-encoding content-language content-length content-location \
    content-range content-security-policy content-security-policy-report-only content-type if-match \
    if-modified-since if-none-match if-range if-unmodified-since last-modified max-forwards proxy-authenticate \
    proxy-authorization public-key-pins referrer-policy retry-after sec-websocket-accept \
    sec-websocket-extensions sec-websocket-key sec-websocket-protocol sec-websocket-version set-cookie \
    strict-transport-security transfer-encoding upgrade-insecure-requests user-agent www-authenticate \
    x-content-type-options x-dns-prefetch-control x-frame-options x-xss-protection";

fn header_names() -> BTreeSet<String> {
    let home = std::fs::read_to_string(root().join(HEADER_NAMES)).expect("the names of headers");
    let own = texts_of(&home).into_iter().map(|name| name.to_ascii_lowercase());
    let own = own.filter(|name| name.contains('-') && !name.contains(' '));
    own.chain(STANDARD_HEADERS.split_whitespace().map(str::to_owned)).collect()
}

#[test]
fn names_of_headers_are_written_in_one_file() {
    let names = header_names();
    assert!(names.contains("x-request-id") && names.contains("grpc-status"), "{names:?}");
    assert_one_home(&texts(), HEADER_NAMES, |text| names.contains(&text.to_ascii_lowercase()));
}

#[test]
fn planted_name_of_a_header_is_found() {
    let names = header_names();
    for planted in ["x-request-id", "X-Request-Id", "content-type", "Grpc-Status"] {
        let is_known = |text: &str| names.contains(&text.to_ascii_lowercase());
        assert_planted_is_found(planted, HEADER_NAMES, is_known);
    }
}

/// Where the codes of errors are.
const ERROR_CODES: &str = "crates/tidegate-http/src/error_code.rs";

/// Codes that are words of the configuration and of the admin endpoint as well, where they mean something else.
const OTHER_MEANINGS: [&str; 2] = ["draining", "maintenance"];

/// Files with verdicts of `explain`, one of which is the same word.
const VERDICTS: [&str; 1] = ["src/cli/explain.rs"];

fn is_error_code(text: &str) -> bool {
    ErrorCode::parse(text).is_some() && !OTHER_MEANINGS.contains(&text)
}

#[test]
fn codes_of_errors_are_written_in_one_file() {
    let texts = texts().into_iter().filter(|it| !VERDICTS.contains(&&*it.file)).collect::<Vec<_>>();
    assert_one_home(&texts, ERROR_CODES, is_error_code);
}

#[test]
fn planted_code_of_an_error_is_found() {
    for planted in ["no_route", "upstream_busy"] {
        assert_planted_is_found(planted, ERROR_CODES, is_error_code);
    }
}

/// Where the word is that takes the place of a secret.
const SECRETS: &str = "crates/tidegate-http/src/redact.rs";

fn is_redacted(text: &str) -> bool {
    text.to_ascii_lowercase().contains("redacted") && !text.contains(' ') && !text.contains('{')
}

#[test]
fn word_in_the_place_of_a_secret_is_written_in_one_file() {
    assert_one_home(&texts(), SECRETS, is_redacted);
}

#[test]
fn planted_word_in_the_place_of_a_secret_is_found() {
    for planted in ["REDACTED", "[redacted]", "=REDACTED"] {
        assert_planted_is_found(planted, SECRETS, is_redacted);
    }
}

/// Where the keys of the access log are. That no line has another key, the compiler ensures: only this file makes keys.
const LOG_KEYS: &str = "src/telemetry/keys.rs";

/// Files with names of variables of the configuration, some of which are the same words.
const VARIABLES: [&str; 1] = ["crates/tidegate-http/src/template.rs"];

/// The keys of several words. One word (`event`, `cache`) has many meanings.
fn log_keys() -> BTreeSet<String> {
    let home = std::fs::read_to_string(root().join(LOG_KEYS)).expect("the keys");
    let is_key = |text: &String| {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || b"._".contains(&byte);
        text.contains('.') && !text.starts_with('.') && text.bytes().all(is_plain)
    };
    texts_of(&home).into_iter().filter(is_key).collect()
}

#[test]
fn keys_of_the_access_log_are_written_in_one_file() {
    let keys = log_keys();
    assert!(keys.contains("http.route") && keys.contains("websocket.close.code"), "{keys:?}");
    let texts: Vec<Text> =
        texts().into_iter().filter(|it| !VARIABLES.contains(&&*it.file)).collect();
    assert_one_home(&texts, LOG_KEYS, |text| keys.contains(text));
}

#[test]
fn planted_key_of_the_access_log_is_found() {
    let keys = log_keys();
    assert_planted_is_found("http.route", LOG_KEYS, |text| keys.contains(text));
}

/// Where the paths of the admin endpoint are.
const ADMIN_PATHS: &str = "src/admin/paths.rs";

fn admin_paths() -> BTreeSet<String> {
    let home = std::fs::read_to_string(root().join(ADMIN_PATHS)).expect("the paths");
    texts_of(&home).into_iter().filter(|text| text.starts_with('/') && text.len() > 1).collect()
}

#[test]
fn paths_of_the_admin_endpoint_are_written_in_one_file() {
    let paths = admin_paths();
    assert!(paths.contains("/sessions/close") && paths.len() > 20, "{paths:?}");
    assert_one_home(&texts(), ADMIN_PATHS, |text| paths.contains(text));
}

#[test]
fn planted_path_of_the_admin_endpoint_is_found() {
    let paths = admin_paths();
    assert_planted_is_found("/sessions/close", ADMIN_PATHS, |text| paths.contains(text));
}
