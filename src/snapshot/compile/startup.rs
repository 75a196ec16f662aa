//! Compiles what takes effect at a start alone, and who may use the admin endpoint. It opens no socket.

use super::Compiler;
use crate::snapshot::{Listener, StartupSettings};
use std::path::PathBuf;
use std::sync::Arc;
use tidegate_config::{Span, defaults};
use tidegate_http::address::Address;

/// Maximum length of the path of a Unix socket (107 bytes on Linux), minus the suffixes that the gateway appends.
const MAX_SOCKET_PATH_BYTES: usize = 90;

/// Minimum length of the admin endpoint's token, in characters.
const MIN_TOKEN_CHARS: usize = 16;

impl Compiler<'_> {
    pub(super) fn startup(&mut self, listeners: &[Arc<Listener>]) -> StartupSettings {
        if self.config.listeners.is_empty() && self.problems.is_empty() {
            self.problems
                .add(Span::default(), "listeners", "the configuration has no listener")
                .help("add `listeners: [{address: 127.0.0.1:3000}]`");
        }
        let threads = self.config.threads.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
        });
        self.check_claims();
        let listeners = listeners.iter().map(|it| it.address.clone()).collect();
        let modes = self.modes();
        StartupSettings {
            listeners,
            modes,
            threads,
            upstream_pool_size: self
                .config
                .upstream_pool_size
                .unwrap_or(defaults::file::UPSTREAM_POOL_SIZE),
            admin: self.admin(),
            upgrade_socket: self.upgrade_socket(),
            state_dir: self
                .config
                .state_dir
                .as_ref()
                .map(|written| self.sources.folder(written.span).join(&written.value)),
        }
    }

    fn upgrade_socket(&mut self) -> Option<PathBuf> {
        let written = self.config.upgrade_socket.as_ref()?;
        let path = PathBuf::from(written.as_str());
        if !path.is_absolute() {
            self.problems.add(written.span, "upgrade_socket", "must be an absolute path");
        } else if path.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
            let reason = format!("the path must have at most {MAX_SOCKET_PATH_BYTES} bytes");
            self.problems.add(written.span, "upgrade_socket", reason);
        }
        Some(path)
    }

    fn admin(&mut self) -> Option<Address> {
        let address = &self.config.admin.as_ref()?.address;
        if address.0.ip().is_some_and(|ip| !ip.is_loopback()) {
            self.problems
                .add(
                    address.span,
                    "admin.address",
                    "must be a loopback address or a Unix domain socket",
                )
                .help("clients of the admin endpoint can close sessions: use 127.0.0.1");
        }
        Some(address.0.clone())
    }

    pub(super) fn admin_token(&mut self) -> Option<Arc<str>> {
        let token = self.config.admin.as_ref()?.token.as_ref()?;
        if token.chars().count() < MIN_TOKEN_CHARS {
            let reason =
                format!("a token of fewer than {MIN_TOKEN_CHARS} characters can be guessed");
            self.problems
                .add(token.span, "admin.token", reason)
                .help("create a token with `openssl rand -hex 16`");
        } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason = "a token may contain only visible ASCII characters, because clients \
                          send it in a header";
            self.problems.add(token.span, "admin.token", reason);
        }
        Some(token.value.as_str().into())
    }
}
