//! Tests that every edit shows: each value of each example is changed, and `tidegate diff` must report it or a test of
//! the file must fail. They start no gateway.

use super::{Difference, Explainer};
use crate::gateway::Config;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tidegate_config::{CoreValue, Kind, Node, parse_tree};

/// What can be written in the place of another thing of its kind.
const WORDS: &[&str] = &[
    "none",
    "oldest",
    "any",
    "keep",
    "drain",
    "close",
    "client",
    "upstream",
    "both",
    "text",
    "json",
    "headers",
    "off",
    "on",
    "h1",
    "h2",
    "h2c",
    "trusted",
    "1.2",
    "1.3",
    "http",
    "grpc",
    "tcp",
    "least_requests",
    "round_robin",
    "user_id",
    "client_address",
    "10.9.0.0/16",
    "reset",
    "timeout",
    "503",
    "gzip",
    "zstd",
    "br",
    "other.example",
    "x-other",
    "warn",
    "debug",
    "stderr",
    "0600",
    "other",
    "normal",
    "reject",
    "text/other",
    "https://other.example",
    "{host}",
    "pages",
    "tls/site.pem",
    "request",
    "tls-alpn-01",
    "rediss://valkey.example",
];

/// Values in whose place no other is valid.
const ALONE: [&str; 19] = [
    // The terms are agreed to, or nothing is ordered.
    "acme-internal.yaml listeners.1.tls.acme.agree_to_terms",
    "acme.yaml listeners.1.tls.acme.agree_to_terms",
    // A certificate and its key belong together.
    "certificates.yaml listeners.0.tls.certificates.0.cert",
    "certificates.yaml listeners.0.tls.certificates.0.key",
    "certificates.yaml listeners.0.tls.certificates.1.cert",
    "certificates.yaml listeners.0.tls.certificates.1.key",
    "certificates.yaml listeners.1.tls.certificates.0.cert",
    "certificates.yaml listeners.1.tls.certificates.0.key",
    // All else is a mapping.
    "cors.yaml routes.3.cors",
    // There is one such file among the examples.
    "dns.yaml upstreams.legacy.endpoints_file",
    "error-pages.yaml error_pages.json.4xx",
    "error-pages.yaml error_pages.json.5xx",
    // Without it there is no certificate.
    "https.yaml listeners.1.tls.self_signed",
    // All else is a mapping.
    "pools.yaml upstreams.shop.health.check",
    "upstream-tls.yaml listeners.0.tls.self_signed",
    // A certificate and its key belong together.
    "upstream-tls.yaml upstreams.billing.tls.client_certificate.cert",
    "upstream-tls.yaml upstreams.billing.tls.client_certificate.key",
    // gRPC wants it.
    "upstream-tls.yaml upstreams.gauge.protocols.0",
    // HTTP/2 by ALPN wants it.
    "upstream-tls.yaml upstreams.partner.tls",
];

pub(super) fn examples() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(root.join("conf/examples")).expect("the examples");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|it| it == "yaml")).collect();
    files.extend(["conf/tidegate.yaml", "docker/tidegate.yaml"].map(|file| root.join(file)));
    files.sort();
    files
}

pub(super) fn json(node: &Node) -> Value {
    match &node.kind {
        Kind::Sequence(items) => items.iter().map(json).collect(),
        Kind::Mapping(entries) => {
            Value::Object(entries.iter().map(|(key, it)| (key.text.clone(), json(it))).collect())
        }
        Kind::Scalar(scalar) => match scalar.resolve() {
            CoreValue::Null => Value::Null,
            CoreValue::Bool(value) => value.into(),
            CoreValue::Integer(value) => value.into(),
            CoreValue::Float(value) => value.into(),
            CoreValue::String => expanded(&scalar.text),
        },
    }
}

/// Whether an edit there can change anything: what is expected, where more is to be read, and the
/// upstream that is there to be another do not count.
fn is_edited(pointer: &str) -> bool {
    !["/tests/", "/include/", "/upstreams/spare/"].iter().any(|it| pointer.starts_with(it))
}

/// Where all scalars stand, as JSON pointers.
fn leaf_paths(value: &Value, at: &str, into: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, item)| leaf_paths(item, &format!("{at}/{index}"), into));
        }
        Value::Object(entries) => entries.iter().for_each(|(key, item)| {
            let key = key.replace('~', "~0").replace('/', "~1");
            leaf_paths(item, &format!("{at}/{key}"), into);
        }),
        Value::Null => {}
        _ => into.push(at.to_owned()),
    }
}

/// Other values, the likeliest first.
fn other_values(value: &Value, names: &[String]) -> Vec<Value> {
    let likely: &[&str] = match value {
        Value::Bool(value) => return vec![(!value).into()],
        Value::Number(number) => {
            let Some(number) = number.as_i64() else { return vec![0.5.into()] };
            return vec![(number + 1).into(), (number - 1).into(), 1001.into()];
        }
        Value::String(text) => match text.as_str() {
            "on" => &["off"],
            "off" => &["on"],
            text if text.starts_with('/') => &["/another"],
            text if text.starts_with("unix:") => &["unix:/run/another.sock"],
            text if text.starts_with("http") => &["https://another.example"],
            text if text.contains('/') => &["10.9.0.0/16", "text/another", "conf/tidegate.yaml"],
            text if text.contains(':') => &["127.0.0.1:4999", "other.example:4999"],
            text if text.chars().all(|c| c.is_ascii_uppercase()) => &["PATCH"],
            text if text.starts_with(|c: char| c.is_ascii_digit()) => {
                &["7s", "77s", "3MiB", "512MiB", "10.9.9.9"]
            }
            _ => &[],
        },
        _ => &[],
    };
    let all = likely.iter().chain(WORDS).map(|it| Value::from(*it));
    let names = names.iter().map(|name| Value::from(name.as_str()));
    // A variable's default is no other value.
    let is_other = |other: &Value| match (value.as_str(), other.as_str()) {
        (Some(value), Some(other)) => value != other && !value.ends_with(&format!(":-{other}}}")),
        _ => true,
    };
    all.chain(names).filter(is_other).collect()
}

/// Where edited examples stand, beside the files that they name.
pub(super) struct EditedExamples(TempDir);

impl EditedExamples {
    pub(super) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/examples");
        copy(&examples, folder.path());
        Self(folder)
    }

    /// A file that says this.
    pub(super) fn file(&self, value: &Value) -> PathBuf {
        let file = self.0.path().join("edited.yaml");
        std::fs::write(&file, value.to_string()).expect("a file");
        file
    }

    fn config(&self, value: &Value) -> Config {
        Config::from_file(self.file(value))
    }

    fn explainer(&self, value: &Value) -> Option<Explainer> {
        self.config(value).explainer().ok()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(std::fs::copy(&path, &target).expect("copied")),
        }
    }
}

/// What a value is that may come from a variable: quoted, it would be text.
fn expanded(text: &str) -> Value {
    let default = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let default = default.and_then(|rest| rest.split_once(":-")).map(|(_, default)| default);
    let number = default.and_then(|default| default.parse::<f64>().ok());
    number.map_or_else(|| text.into(), Value::from)
}

#[test]
fn diff_shows_every_edit_of_an_example() {
    let (mut tried, mut unseen, mut alone) = (0, Vec::new(), Vec::new());
    let examples_folder = EditedExamples::new();
    for file in examples() {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("the example");
        let mut written = json(&parse_tree(&text).expect("YAML"));
        if written.get("upstreams").is_some() {
            written["upstreams"]["spare"] = serde_json::json!({"endpoints": ["127.0.0.1:4998"]});
        }
        let good = examples_folder
            .explainer(&written)
            .unwrap_or_else(|| panic!("{name} is a good example"));
        let same = good.difference(&examples_folder.explainer(&written).expect("the same"));
        assert_eq!(same, Difference::default(), "{name}");
        let upstreams = written["upstreams"].as_object().into_iter().flatten();
        let upstreams: Vec<String> = upstreams.map(|(name, _)| name.clone()).collect();
        let mut pointers = Vec::new();
        leaf_paths(&written, "", &mut pointers);
        for pointer in pointers {
            if !is_edited(&pointer) {
                continue;
            }
            let value = written.pointer(&pointer).expect("a value");
            let edit = |other: Value| {
                let mut edited = written.clone();
                *edited.pointer_mut(&pointer).expect("a value") = other.clone();
                Some((examples_folder.explainer(&edited)?, other))
            };
            let Some((edited, other)) = other_values(value, &upstreams).into_iter().find_map(edit)
            else {
                // A scheme, and a file of keys, is often the only one of its example.
                if name.starts_with("authentication-") {
                    continue;
                }
                alone.push(format!("{name} {}", pointer[1..].replace('/', ".")));
                continue;
            };
            tried += 1;
            let difference = good.difference(&edited);
            // It has to be said what is otherwise, not that something is.
            if difference.is_empty() || difference.to_string().contains("filters or settings") {
                unseen.push(format!("{name} {pointer}: {value} → {other}\n{difference}"));
            }
        }
    }
    assert!(unseen.is_empty(), "{}", unseen.join("\n"));
    assert_eq!(alone, ALONE, "{alone:#?}");
    assert!(tried > 400, "{tried}");
}

/// Edits of the files with tests that none of these catches, and why they need not.
const HARMLESS_EDITS: &[(&str, &str)] = &[
    ("/access_log/format", "a request's fate does not show in how it is logged"),
    ("/admin", "the admin endpoint has no routes"),
    ("/admin/address", "the same"),
    ("/cors/allow_credentials", "`cors` says who is let in, not with what"),
    ("/cors/max_age", "the same"),
    ("/identity/user_id/0", "who asks decides nothing here"),
    ("/identity/user_id/0/query", "the same"),
    ("/identity/user_id/1", "the same"),
    ("/identity/user_id/1/header", "the same"),
    ("/identity/user_id/2", "the same"),
    ("/identity/user_id/2/cookie", "the same"),
    ("/identity/user_id", "the same"),
    ("/identity", "the same"),
    ("/listeners/0/address", "each machine has its own"),
    ("/routes/0/websocket", "the story of the demo switches it off"),
    ("/routes/1/timeouts", "how long is waited, not for what"),
    ("/routes/1/timeouts/connect", "the same"),
    ("/routes/1/timeouts/read", "the same"),
    ("/routes/1/timeouts/write", "the same"),
    ("/routes/2/redirect/to", "a test has the status of an answer, not the answer"),
    ("/tracing", "a request's fate does not show in how it is traced"),
    ("/tracing/otlp", "the same"),
    ("/tracing/otlp/endpoint", "the same"),
    ("/tracing/sample", "the same"),
    ("/tracing/sample/parent", "the same"),
    ("/tracing/sample/ratio", "the same"),
    ("/shutdown/grace", "a request's fate does not show in how the gateway stops"),
    ("/shutdown", "the same"),
    (
        "/upstreams/notifications/endpoints/0",
        "a test names upstreams: each machine has its endpoints",
    ),
    ("/upstreams/orders/endpoints/0", "the same"),
    ("/upstreams/users/endpoints/0", "the same"),
    ("/access_log", "a request's fate does not show in how it is logged"),
];

/// Every value is changed, and every key taken away, in turn: where the file is still a good one
/// but for its tests, one of them fails.
#[test]
fn tests_in_the_examples_catch_edits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut caught, mut missed) = (0, Vec::new());
    let examples_folder = EditedExamples::new();
    let mut harmless = std::collections::BTreeSet::new();
    for file in ["conf/examples/tests.yaml", "conf/tidegate.yaml", "docker/tidegate.yaml"] {
        let text = std::fs::read_to_string(root.join(file)).expect("the example");
        let mut written = json(&parse_tree(&text).expect("YAML"));
        if written.get("upstreams").is_some() {
            written["upstreams"]["spare"] = serde_json::json!({"endpoints": ["127.0.0.1:4998"]});
        }
        let is_good = |value: &Value| examples_folder.config(value).check().is_ok();
        assert!(is_good(&written), "{file}");
        let upstreams = written["upstreams"].as_object().into_iter().flatten();
        let upstreams: Vec<String> = upstreams.map(|(name, _)| name.clone()).collect();
        let mut pointers = Vec::new();
        leaf_paths(&written, "", &mut pointers);
        let mut edits = Vec::new();
        for pointer in pointers.iter().filter(|pointer| is_edited(pointer)) {
            let value = written.pointer(pointer).expect("a value");
            let edit = |other: Value| {
                let mut edited = written.clone();
                *edited.pointer_mut(pointer).expect("a value") = other;
                examples_folder.explainer(&edited).map(|_| edited)
            };
            let edited = other_values(value, &upstreams).into_iter().find_map(edit);
            edits.extend(edited.map(|edited| (pointer.clone(), edited)));
        }
        for pointer in mapping_paths(&pointers) {
            let mut edited = written.clone();
            let (above, key) = pointer.rsplit_once('/').expect("a pointer");
            match edited.pointer_mut(above).expect("a value") {
                Value::Object(entries) => drop(entries.remove(key)),
                Value::Array(items) => drop(items.remove(key.parse().expect("an index"))),
                _ => continue,
            }
            if examples_folder.explainer(&edited).is_some() {
                edits.push((pointer, edited));
            }
        }
        for (pointer, edited) in edits {
            let known = HARMLESS_EDITS.iter().find(|(known, _)| *known == pointer);
            match (is_good(&edited), known) {
                (false, _) => caught += 1,
                (true, Some((known, _))) => {
                    harmless.insert(*known);
                }
                (true, None) => missed.push(format!("{file} {pointer}")),
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    let listed: std::collections::BTreeSet<&str> =
        HARMLESS_EDITS.iter().map(|(pointer, _)| *pointer).collect();
    assert_eq!(harmless, listed, "the list has nothing that a test catches");
    assert!(caught > 50, "{caught}");
}

/// All places but the whole of the file, that of the tests excepted.
fn mapping_paths(leaves: &[String]) -> std::collections::BTreeSet<String> {
    let mut all = std::collections::BTreeSet::new();
    for leaf in leaves.iter().filter(|leaf| is_edited(leaf)) {
        let mut pointer = leaf.as_str();
        while !pointer.is_empty() {
            all.insert(pointer.to_owned());
            pointer = pointer.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
    all
}
