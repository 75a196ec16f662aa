//! What must hold for the readers of credentials and of their files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::path::Path;
use tidegate_config::{ApiKeyFile, HashFormat, ProblemCollector, Sources, password_lines};
use tidegate_http::basic_credentials::BasicCredentials;

/// A user name and a password are what was encoded, and nothing that a file of users could not have; lines of such a
/// file, and keys, are read or reported.
pub fn credentials(bytes: &[u8]) {
    if let Ok(pair) = BasicCredentials::parse(bytes) {
        assert_eq!(STANDARD.encode(joined(&pair)).as_bytes(), bytes, "only one spelling");
    }
    let text = std::str::from_utf8(bytes);
    let is_allowed = text.is_ok_and(|text| text.contains(':') && !text.contains(char::is_control));
    match BasicCredentials::parse(STANDARD.encode(bytes).as_bytes()) {
        Ok(pair) => {
            assert!(is_allowed && !pair.user().contains(':'));
            assert_eq!(joined(&pair).as_bytes(), bytes);
        }
        Err(error) => {
            let is_long = STANDARD.encode(bytes).len() > BasicCredentials::MAX_ENCODED_BYTES;
            assert!(!is_allowed || is_long, "{error:?}");
        }
    }
    let Ok(text) = text else { return };
    let lines = text.lines().count();
    for line in password_lines(text) {
        match line {
            Ok(line) => {
                assert!(!line.user.is_empty() && !line.user.contains([':', '\n']));
                assert!(!line.user.contains(char::is_control));
                let format = HashFormat::of(line.hash);
                assert!(matches!(format, Ok(HashFormat::Argon2 | HashFormat::Bcrypt)));
                assert!(line.line as usize <= lines);
            }
            Err(error) => assert!(error.line as usize <= lines && error.column > 0),
        }
    }
    let mut problems = ProblemCollector::new(Sources::default());
    let file = ApiKeyFile::read(Path::new("keys.yaml"), text, &mut problems);
    assert!(file.is_some() || !problems.is_empty(), "it is read, or reported");
}

fn joined(pair: &BasicCredentials) -> String {
    format!("{}:{}", pair.user(), pair.password())
}
