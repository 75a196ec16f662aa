//! `GET /config`: the files of the configuration in force, as written and without secrets. Knows no key: it hides
//! values by the names beside them.

use crate::snapshot::Snapshot;
use serde_json::{Map, Value, json};
use tidegate_config::{CoreValue, Kind, Node, parse_tree as parse};
use tidegate_http::redact::redact;
use tidegate_http::secret::{
    REDACTED, holds_fields, is_secret, is_secret_field, is_secret_key, without_url_secrets,
};

/// Each file as written, with the names of variables instead of their values.
pub(super) fn to_json(snapshot: &Snapshot) -> Value {
    let files = snapshot.written.files().map(|(path, text)| {
        let tree = parse(text).map_or(Value::Null, |root| tree(&root, false));
        json!({"path": path, "configuration": tree})
    });
    json!({"version": snapshot.number, "files": files.collect::<Vec<_>>()})
}

/// A node as JSON. The recursion is bounded, because the parser limits the depth.
fn tree(node: &Node, of_fields: bool) -> Value {
    match &node.kind {
        Kind::Sequence(items) => items.iter().map(|item| tree(item, of_fields)).collect(),
        Kind::Mapping(entries) => {
            let entry = |key: &str, node: &Node| {
                let is_secret = if of_fields { is_secret_field(key) } else { is_secret_key(key) };
                match is_secret && !node.is_null() {
                    true => Value::from(REDACTED),
                    false => tree(node, of_fields || holds_fields(key)),
                }
            };
            let entries =
                entries.iter().map(|(key, node)| (key.text.clone(), entry(&key.text, node)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        Kind::Scalar(scalar) => match scalar.resolve() {
            CoreValue::Null => Value::Null,
            CoreValue::Bool(value) => value.into(),
            CoreValue::Integer(value) => value.into(),
            CoreValue::Float(value) => value.into(),
            CoreValue::String => redacted(&scalar.text).into(),
        },
    }
}

/// A text without its secrets, which are recognised by the names beside them in a URL, in JSON or in a form.
fn redacted(text: &str) -> String {
    let text = without_url_secrets(text);
    match text.contains('"') {
        true => redact(&text, is_secret).into_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_config_shows_no_secrets() {
        let yaml = "
admin: {address: 127.0.0.1:9901, token: verysecret0123456}
tokens: [verysecret]
routes: [{match: {query: {key: verysecret}, headers: {X-Sig: verysecret}}, files: {path: p}}]
headers: {request: {set: {Authorization: Basic verysecret, X-Signature: verysecret, X-Access-Key: verysecret, X-Auth: verysecret, Cookie: verysecret, X-Tenant: blue}}}
identity: {user_id: [cookie: sid]}
acme: {external_account: {id: me, hmac_key: verysecret}}
shared: redis://user:verysecret@127.0.0.1:6379/0
health: {check: {http: '/h?token=verysecret&a=1'}}
redirect: {to: 'https://u:verysecret@x.test/?key=verysecret'}
respond: {body: '{\"token\": \"verysecret\"}'}
upstreams: {api: {endpoints: ['${API}']}}";
        let shown = tree(&parse(yaml).expect("YAML"), false).to_string();
        assert!(!shown.contains("verysecret"), "{shown}");
        for visible in ["127.0.0.1:9901", "blue", "sid", "${API}", "127.0.0.1:6379/0"] {
            assert!(shown.contains(visible), "{visible}: {shown}");
        }
    }
}
