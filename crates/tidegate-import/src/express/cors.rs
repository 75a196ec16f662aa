//! The options of the module `cors` as a CORS policy. It does not know where in a program the module is used.

use super::value::Value;
use crate::draft::{Cors, Text};
use crate::note::{Notes, SourcePosition};

/// The policy; `None` if it can't be converted.
pub(super) fn policy(
    options: Option<&Value<'_>>,
    position: &SourcePosition,
    notes: &mut Notes,
) -> Option<Cors> {
    let get = |key: &str| options.and_then(|options| options.get(key));
    if options.is_some_and(|options| !matches!(options, Value::Object(_))) {
        notes.left_out(position, "`cors`: its options are code; use `cors.allow_origins` instead");
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
                        let text = "`origin: true` with credentials allows every website to act for \
                            your users; list the allowed origins in `cors.allow_origins` instead";
                        notes.left_out(position, text);
                    }
                    Value::Regex(pattern) => {
                        let text = format!(
                            "`/{pattern}/`: an origin cannot be a regular expression; write it in full, \
                             or as `https://*.example.com`"
                        );
                        notes.left_out(position, text);
                    }
                    _ => notes
                        .left_out(position, "`origin` is code; use `cors.allow_origins` instead"),
                }
            }
        }
    }
    if origins.iter().any(|origin| origin.as_str() == "*") && credentials {
        // No browser accepts it, so no page relies on it.
        notes.left_out(
            position,
            "`credentials` with the origin `*`: browsers accept no such response",
        );
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
        "the policy also applies to the `Origin` of WebSocket handshakes, and replaces CORS headers of \
         the services",
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
