//! `tidegate hash`: makes hashes of passwords and API keys. It reads no configuration, and stores nothing.

use super::{EXIT_FAILURE, EXIT_USAGE};
use crate::authentication::{SlowHash, sha256_text};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use ring::rand::{SecureRandom, SystemRandom};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead, IsTerminal, Stdin};
use std::process::ExitCode;

pub(super) const AFTER_HELP: &str = "\
Reads the first line of standard input; at a terminal it asks, and does not show what is typed.
The hash of a password goes into the file of `authentication.NAME.basic`, after the user name and
a colon; the hash of a key into the file of `authentication.NAME.api_keys`, as `hash`.

Examples:
  tidegate hash                         hash a password with Argon2
  tidegate hash --key < key.txt         hash an API key that is random and long
  tidegate hash --new-key               make a random API key, and print it with its hash";

/// Keys that are shorter can be guessed, in characters.
const MIN_KEY_CHARS: usize = 20;

/// The number of random bytes of a new key.
const NEW_KEY_BYTES: usize = 32;

/// The beginning of a new key, by which people and scanners recognise one.
const NEW_KEY_PREFIX: &str = "tgk_";

#[derive(Args)]
pub(super) struct Hash {
    /// Read an API key and print its SHA-256 hash.
    #[arg(long)]
    key: bool,
    /// Make a random API key and print it with its hash.
    #[arg(long, conflicts_with = "key")]
    new_key: bool,
}

impl Hash {
    pub(super) fn run(&self) -> Result<(), ExitCode> {
        if self.new_key {
            let mut random = [0; NEW_KEY_BYTES];
            let filled = SystemRandom::new().fill(&mut random);
            filled.map_err(|_| fail(EXIT_FAILURE, "cannot get random numbers from the system"))?;
            let key = format!("{NEW_KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
            println!("key: {key}");
            println!("hash: {}", sha256_text(key.as_bytes()));
            return Ok(());
        }
        let secret = read_secret(if self.key { "API key: " } else { "Password: " })
            .map_err(|error| fail(EXIT_FAILURE, &format!("cannot read standard input: {error}")))?;
        if secret.is_empty() {
            return Err(fail(EXIT_USAGE, "standard input is empty"));
        }
        if secret.chars().any(char::is_control) {
            return Err(fail(
                EXIT_USAGE,
                "remove the control characters from standard input; no client can send them",
            ));
        }
        if !self.key {
            let hash = SlowHash::new(secret.as_bytes()).map_err(|it| fail(EXIT_FAILURE, &it))?;
            println!("{}", hash.text());
            return Ok(());
        }
        if secret.chars().count() < MIN_KEY_CHARS {
            eprintln!(
                "warning: keys of less than {MIN_KEY_CHARS} characters can be guessed; make one with \
                 `tidegate hash --new-key`"
            );
        }
        println!("{}", sha256_text(secret.as_bytes()));
        Ok(())
    }
}

fn fail(code: u8, reason: &str) -> ExitCode {
    eprintln!("error: {reason}");
    ExitCode::from(code)
}

/// The first line of standard input, without its end.
fn read_secret(prompt: &str) -> io::Result<String> {
    let input = io::stdin();
    let hidden = input.is_terminal().then(|| HiddenInput::new(&input, prompt));
    let mut line = String::new();
    let read = input.lock().read_line(&mut line);
    drop(hidden);
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not show what is typed, until it is dropped.
struct HiddenInput<'i> {
    input: &'i Stdin,
    before: Option<Termios>,
}

impl<'i> HiddenInput<'i> {
    fn new(input: &'i Stdin, prompt: &str) -> Self {
        eprintln!("{prompt}");
        let before = tcgetattr(input).ok();
        if let Some(mut hidden) = before.clone() {
            hidden.local_modes.remove(LocalModes::ECHO);
            let _ = tcsetattr(input, OptionalActions::Flush, &hidden);
        }
        Self { input, before }
    }
}

impl Drop for HiddenInput<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(self.input, OptionalActions::Now, before);
        }
    }
}
