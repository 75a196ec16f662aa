//! Compiles a scheme of basic authentication, and reads its file of users. Verifies nothing.

use super::super::Compiler;
use crate::authentication::{BasicScheme, Scheme, SlowHash, quoted_challenge};
use http::HeaderValue;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tidegate_config::{Basic, HashFormat, Span, defaults, password_lines};

/// Maximum size of a file of users, in bytes; about 40,000 users.
const MAX_PASSWORD_FILE_BYTES: u64 = 4 * 1024 * 1024;

impl Compiler<'_> {
    /// The scheme, and its settings in a serialised form.
    pub(super) fn basic(
        &mut self,
        name: &str,
        written: &Basic,
        key_path: &str,
    ) -> Option<(Arc<dyn Scheme>, String)> {
        let challenge = self.basic_challenge(written, key_path);
        let path = self.path(&written.file);
        let text = match tidegate_disk::read_text(&path, MAX_PASSWORD_FILE_BYTES) {
            Ok(text) => text,
            Err(reason) => {
                let reason = format!("cannot read the users `{}`: {reason}", path.display());
                self.problems.add(written.file.span, format!("{key_path}.file"), reason);
                return None;
            }
        };
        let users = self.users(&path, &text);
        let forwards = written.forward.unwrap_or(defaults::basic::FORWARD).0;
        let file = written.file.value.clone();
        let scheme = BasicScheme::new(name.into(), file, users, forwards, challenge?);
        Some((Arc::new(scheme), Self::settings_with_file(written, &text)))
    }

    /// The users of a file; its problems have positions in it.
    fn users(&mut self, path: &Path, text: &str) -> Vec<(String, SlowHash)> {
        let Some(file) = self.problems.register_file(path) else { return Vec::new() };
        let mut users = Vec::new();
        let mut first_lines: HashMap<&str, u32> = HashMap::new();
        for line in password_lines(text) {
            let line = match line {
                Ok(line) => line,
                Err(error) => {
                    let span = Span { file, line: error.line, column: error.column };
                    self.problems.add(span, "", error.fault.to_string()).help(error.fault.help());
                    continue;
                }
            };
            let span = Span { file, line: line.line, column: 1 };
            if let Some(first) = first_lines.insert(line.user, line.line) {
                let reason = format!("line {first} has the same user name already");
                self.problems.add(span, "", reason);
                continue;
            }
            let parsed = HashFormat::of(line.hash).map_err(|it| it.to_string());
            match parsed.and_then(|format| SlowHash::parse(format, line.hash)) {
                Ok(hash) => users.push((line.user.to_owned(), hash)),
                Err(reason) => {
                    let span = Span { column: line.hash_column, ..span };
                    self.problems.add(span, "", reason);
                }
            }
        }
        users
    }

    /// The challenge (RFC 7617, section 2).
    fn basic_challenge(&mut self, written: &Basic, key_path: &str) -> Option<HeaderValue> {
        let realm = written.realm.as_ref().map_or(defaults::basic::REALM, |realm| realm.as_str());
        // What else means, RFC 7617 leaves open, and clients differ.
        let is_plain = realm.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let challenge = quoted_challenge("Basic", "realm", realm).filter(|_| is_plain);
        let challenge =
            challenge.and_then(|challenge| format!("{challenge}, charset=\"UTF-8\"").parse().ok());
        if challenge.is_none() {
            let span = written.realm.as_ref().map(|realm| realm.span).unwrap_or_default();
            let reason = "a realm has only visible ASCII characters and spaces";
            self.problems.add(span, format!("{key_path}.realm"), reason);
        }
        challenge
    }
}
