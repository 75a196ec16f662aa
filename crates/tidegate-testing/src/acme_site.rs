//! A gateway that orders its certificates from a test's ACME server. It does not know what a test checks.

use super::{Gateway, Pebble, Upstream, until};
use tempfile::TempDir;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A gateway with an HTTP listener that redirects, and an HTTPS listener; `acme` has more keys for `acme: {…}`.
pub struct AcmeSite {
    /// The ACME server that issues the certificates.
    pub pebble: Pebble,
    upstream: Upstream,
    /// More keys of the `acme` section, written between its braces.
    pub acme: String,
    /// More lines at the top of the file.
    pub top: String,
}

impl AcmeSite {
    /// A site that uses this ACME server. The gateway is not started yet.
    pub async fn new(pebble: Pebble, acme: &str) -> Self {
        let upstream = Upstream::echo().await;
        Self { pebble, upstream, acme: acme.to_owned(), top: String::new() }
    }

    /// The gateway's configuration file.
    pub fn yaml(&self) -> String {
        let Self { pebble, upstream, acme, top } = self;
        let (http, tls) = pebble.targets;
        let (directory, ca) = (pebble.directory(), pebble.ca());
        format!(
            "{top}state_dir: state\n\
             listeners:\n\
             \x20 - {{address: \"127.0.0.1:{http}\", redirect_to_https: on}}\n\
             \x20 - address: 127.0.0.1:{tls}\n\
             \x20   tls:\n\
             \x20     acme: {{agree_to_terms: true, directory: \"{directory}\", ca: {}, retry: 1s, {acme}}}\n\
             upstreams: {{service: {{endpoints: [\"{}\"]}}}}\n\
             routes: [{{name: all, match: {{path_prefix: /}}, upstream: service}}]\n",
            ca.display(),
            upstream.address()
        )
    }

    /// Starts the gateway in a new temporary directory.
    pub async fn start(&self) -> Gateway {
        self.start_in(TempDir::new().expect("a folder")).await
    }

    /// Starts the gateway in this directory, which may hold the state of an earlier run.
    pub async fn start_in(&self, folder: TempDir) -> Gateway {
        let file = folder.path().join("tidegate.yaml");
        std::fs::write(&file, self.yaml()).expect("a file");
        Gateway::run(folder, file, self.pebble.targets.1).await
    }

    /// The serial number of the certificate for a name, which Pebble has issued.
    pub async fn serial(&self, gateway: &Gateway, name: &str) -> Option<String> {
        let client = self.pebble.client().await;
        let stream = client.try_connect(gateway, name).await.ok()?;
        let chain = stream.get_ref().1.peer_certificates()?;
        assert!(chain.len() > 1, "the intermediate comes with it");
        let (_, certificate) = X509Certificate::from_der(&chain[0]).ok()?;
        Some(certificate.raw_serial_as_string())
    }

    /// Waits until the gateway serves a certificate for `name`; returns its serial number.
    pub async fn first_serial(&self, gateway: &Gateway, name: &str) -> String {
        let mut serial = None;
        until("there is a certificate", async || {
            serial = self.serial(gateway, name).await;
            serial.is_some()
        })
        .await;
        serial.expect("one")
    }
}
