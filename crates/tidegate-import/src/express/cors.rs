//! The options of the module `cors` as a CORS policy. It does not know where in a program the module is used.

use super::value::Value;
use crate::draft::{Cors, Text};
use crate::note::{Notes, Place};

/// The policy; `None` if it can't be converted.
pub(super) fn policy(
    options: Option<&Value<'_>>,
    position: &Place,
    notes: &mut Notes,
) -> Option<Cors> {
    let get = |key: &str| options.and_then(|options| options.get(key));
    if options.is_some_and(|options| !matches!(options, Value::Object(_))) {
        notes.left_out(position, "`cors`: its options are code; see `cors.allow_origins`");
        return None;
    }
    let credentials = get("credentials").is_some_and(Value::is_true);
    let mut origins = Vec::new();
    match get("origin") {
        None => origins.push(Text::literal("*")),
        Some(Value::Bool(false)) => return None,
        Some(Value::Bool(true)) if !credentials => origins.push(Text::literal("*")),
        Some(origin) => {
            for item in origin.items() {
                match item {
                    Value::Text(written) => origins.push(written.text()),
                    Value::Bool(true) => {
                        let text = "`origin: true` with credentials lets the pages of everybody act \
                                    for your users: name them in `cors.allow_origins`";
                        notes.left_out(position, text);
                    }
                    Value::Regex(pattern) => {
                        let text = format!(
                            "`/{pattern}/`: an origin is written out, or `https://*.example.com`"
                        );
                        notes.left_out(position, text);
                    }
                    _ => notes.left_out(position, "`origin` is code; see `cors.allow_origins`"),
                }
            }
        }
    }
    if origins.iter().any(|origin| origin.as_str() == "*") && credentials {
        // No browser accepts it, so no page relies on it.
        notes.left_out(position, "`credentials` with the origin `*`, which no browser accepts");
    }
    let has_any = origins.iter().any(|origin| origin.as_str() == "*");
    let list = |key: &str| -> Vec<String> {
        let written = get(key).map(Value::items).unwrap_or_default();
        let all = written.iter().filter_map(Value::plain);
        let all: Vec<_> =
            all.flat_map(|it| it.split(',').map(str::to_owned).collect::<Vec<_>>()).collect();
        all.iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
    };
    notes.changed(
        position,
        "the `Origin` of WebSocket handshakes is checked by this policy too, and what services say of \
         CORS gives way to it",
    );
    Some(Cors {
        comment: Vec::new(),
        origins,
        methods: list("methods"),
        allow_headers: list("allowedHeaders"),
        expose_headers: list("exposedHeaders"),
        credentials: credentials && !has_any,
        max_age: get("maxAge").and_then(Value::plain).and_then(|age| age.parse().ok()),
    })
}
