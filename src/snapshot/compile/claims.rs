//! Finds addresses and sockets that two keys claim, of which only one could bind them. Binds nothing.

use super::Compiler;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use tidegate_config::{AccessLogSetting, Span};
use tidegate_http::address::Address;

/// An address and the key that claims it.
struct AddressClaim {
    address: Address,
    /// Where its socket is, if it has a path.
    file: Option<PathBuf>,
    span: Span,
    key: String,
    /// Who has it, in a message.
    owner: &'static str,
}

impl Compiler<'_> {
    /// Finds listeners that can't be bound beside each other, and files that would stand where a socket is.
    pub(super) fn check_claims(&mut self) {
        let claims = self.claims();
        for (index, claim) in claims.iter().enumerate() {
            let earlier = claims.iter().take(index).find(|earlier| overlap(earlier, claim));
            let Some(earlier) = earlier else { continue };
            let owner = earlier.owner;
            let line = self.sources.line(earlier.span, claim.span);
            let reason = match earlier.address == claim.address {
                true => format!("{owner} in {line} already has the address {}", claim.address),
                false => format!(
                    "{} cannot be bound together with {}, the address of {owner} in {line}",
                    claim.address, earlier.address
                ),
            };
            let is_wide =
                |claim: &AddressClaim| claim.address.ip().is_some_and(|ip| ip.is_unspecified());
            let problem = self.problems.add(claim.span, claim.key.clone(), reason);
            if is_wide(earlier) != is_wide(claim) {
                problem.help("a wildcard address also accepts connections to the other address");
            } else if is_wide(claim) && earlier.address != claim.address {
                problem.help("`[::]` also accepts IPv4 connections: one of the two is enough");
            }
        }
        self.check_paths(&claims);
    }

    /// The listeners' addresses, and that of the admin endpoint.
    fn claims(&self) -> Vec<AddressClaim> {
        let listeners =
            self.config.listeners.iter().enumerate().map(|(index, listener)| AddressClaim {
                address: listener.address.0.clone(),
                file: socket_file(&listener.address.0),
                span: listener.address.span,
                key: format!("listeners[{index}].address"),
                owner: "the listener",
            });
        let admin = self.config.admin.iter().map(|admin| AddressClaim {
            address: admin.address.0.clone(),
            file: socket_file(&admin.address.0),
            span: admin.address.span,
            key: "admin.address".to_owned(),
            owner: "the admin endpoint",
        });
        listeners.chain(admin).collect()
    }

    /// What would replace a listener's socket, or be in its place.
    fn check_paths(&mut self, claims: &[AddressClaim]) {
        let mut files: Vec<(PathBuf, Span, &str)> = Vec::new();
        if let AccessLogSetting::Settings(settings) = &self.config.access_log
            && let Some(path) = &settings.path
            && !matches!(path.as_str(), "stdout" | "stderr")
        {
            let file = self.sources.folder(path.span).join(path.as_str());
            files.push((file, path.span, "access_log.path"));
        }
        if let Some(path) = &self.config.upgrade_socket {
            // The second is how the gateway that serves is found.
            for file in [path.value.clone(), format!("{}.control", path.value)] {
                files.push((file.into(), path.span, "upgrade_socket"));
            }
        }
        for (file, span, key) in files {
            let file = Some(real_path(&file));
            let claim = claims.iter().find(|claim| claim.file == file);
            if let Some(AddressClaim { address, owner, span: earlier, .. }) = claim {
                let line = self.sources.line(*earlier, span);
                let reason = format!("{owner} in {line} already has the address {address}");
                self.problems.add(span, key, reason);
            }
        }
    }
}

/// Whether the system would refuse to bind the second. Of two listeners none may be found by the address of
/// the other either; the admin endpoint may have a free port as well.
fn overlap(first: &AddressClaim, second: &AddressClaim) -> bool {
    match (&first.address, &second.address) {
        (Address::Unix(_), Address::Unix(_)) => first.file == second.file,
        (Address::Inet(one), Address::Inet(other)) if one.port() == 0 => {
            one == other && first.owner == second.owner
        }
        (Address::Inet(one), Address::Inet(other)) => {
            one.port() == other.port() && are_same_host(one, other)
        }
        _ => false,
    }
}

/// Whether a connection could match both addresses.
fn are_same_host(one: &SocketAddr, other: &SocketAddr) -> bool {
    match (one.ip().to_canonical(), other.ip().to_canonical()) {
        (IpAddr::V6(_), IpAddr::V6(_)) if one.ip() == other.ip() => scope(one) == scope(other),
        (one, other) if one.is_ipv4() == other.is_ipv4() => {
            one == other || one.is_unspecified() || other.is_unspecified()
        }
        (IpAddr::V6(any), _) | (_, IpAddr::V6(any)) => any.is_unspecified() && takes_ipv4(),
        _ => false,
    }
}

fn scope(address: &SocketAddr) -> u32 {
    match address {
        SocketAddr::V6(address) => address.scope_id(),
        SocketAddr::V4(_) => 0,
    }
}

/// Whether `[::]` takes connections of IPv4 too (ipv6(7): `IPV6_V6ONLY`).
fn takes_ipv4() -> bool {
    let only = fs::read_to_string("/proc/sys/net/ipv6/bindv6only");
    !only.is_ok_and(|only| only.trim() == "1")
}

fn socket_file(address: &Address) -> Option<PathBuf> {
    match address {
        Address::Unix(path) => Some(real_path(Path::new(&**path))),
        Address::Inet(_) => None,
    }
}

/// One form for all spellings of a path whose folder exists.
fn real_path(path: &Path) -> PathBuf {
    match (path.parent().map(fs::canonicalize), path.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        // Without doubled slashes and `.` between them.
        _ => path.components().collect(),
    }
}
