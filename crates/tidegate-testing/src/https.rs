//! A gateway with a TLS listener and the authority of its certificates. It does not know what a test checks.

use super::{Authority, Config, Gateway, Upstream, free_port, ok};
use tempfile::TempDir;

/// A gateway whose listener has TLS. The authority has issued `site` for `site.test` and `star` for `*.star.test`.
pub struct Https {
    /// The authority that issued both certificates.
    pub authority: Authority,
    /// The running gateway.
    pub gateway: Gateway,
    /// The upstream, which answers with the target of the request.
    pub upstream: Upstream,
}

/// The configuration of the two certificates.
pub const SITES: &str =
    "certificates: [{cert: site.pem, key: site.key}, {cert: star.pem, key: star.key}]";

impl Https {
    /// Starts a gateway with these keys in its listener's `tls` section.
    pub async fn new(tls: &str) -> Self {
        Self::with(tls, |config| config).await
    }

    /// Starts a gateway with these keys in its listener's `tls` section, and a change to the rest of the configuration.
    pub async fn with(tls: &str, more: impl FnOnce(Config) -> Config) -> Self {
        let authority = Authority::new();
        let folder = TempDir::new().expect("a folder");
        authority.write(&folder.path().join("ca.pem"));
        authority.issue(folder.path(), "site", &["site.test"], 2090);
        authority.issue(folder.path(), "star", &["*.star.test"], 2090);
        let upstream = Upstream::answering(|request| ok(request.head.target())).await;
        let config = more(Config::to(&upstream).listening(&format!("tls: {{{tls}}}")));
        let port = free_port();
        let file = folder.path().join("tidegate.yaml");
        std::fs::write(&file, config.yaml(port)).expect("a file");
        let gateway = Gateway::run(folder, file, port).await;
        Self { authority, gateway, upstream }
    }
}
