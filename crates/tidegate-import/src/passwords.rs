//! Files of passwords, as `htpasswd` writes them: whether the gateway accepts each hash. Verifies no password.

use super::read_text;
use std::path::Path;

/// How the hashes begin that the gateway accepts: bcrypt and Argon2.
const ACCEPTED: [&str; 4] = ["$2y$", "$2b$", "$2a$", "$argon2id$"];

/// Why the gateway would not accept this file of passwords, or `None` if it does.
pub(crate) fn reason_against(path: &Path) -> Option<String> {
    let shown = path.display();
    let Ok(text) = read_text(path) else { return Some(format!("`{shown}` cannot be read")) };
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let hashes: Vec<&str> =
        lines.map(|line| line.split_once(':').map_or("", |(_, hash)| hash)).collect();
    let is_accepted = |hash: &str| ACCEPTED.iter().any(|start| hash.starts_with(start));
    let others = hashes.iter().filter(|hash| !is_accepted(hash)).count();
    if hashes.is_empty() {
        return Some(format!("`{shown}` lists no user"));
    }
    (others > 0).then(|| {
        format!(
            "{others} of the {} hashes in `{shown}` are neither bcrypt nor Argon2; write them anew with \
             `htpasswd -B`",
            hashes.len()
        )
    })
}
