//! Pebble, the ACME server for tests, with its own DNS. It does not know the gateway.

use super::{Authority, Client, Wire, free_port, get, until};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// Let's Encrypt's authority for tests, with a DNS of its own. It rejects some good nonces and
/// remembers some authorizations, as real ones do.
pub struct Pebble {
    folder: TempDir,
    port: u16,
    management: u16,
    dns: u16,
    dns_management: u16,
    /// The ports of its challenges: HTTP, and TLS.
    pub targets: (u16, u16),
    /// Validity of a certificate, in seconds.
    pub validity: u32,
    /// The external accounts that it accepts, each with its key; without any it accepts every account.
    pub accounts: Vec<(&'static str, &'static str)>,
    authority: Authority,
    running: Vec<Child>,
}

impl Default for Pebble {
    fn default() -> Self {
        Self::new()
    }
}

impl Pebble {
    /// A server that is not started yet.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let authority = Authority::new();
        authority.write(&folder.path().join("ca.pem"));
        authority.issue(folder.path(), "pebble", &["localhost", "127.0.0.1"], 2090);
        Self {
            folder,
            port: free_port(),
            management: free_port(),
            dns: free_port(),
            dns_management: free_port(),
            targets: (free_port(), free_port()),
            validity: 30 * 24 * 3600,
            accounts: Vec::new(),
            authority,
            running: Vec::new(),
        }
    }

    /// Starts the server and returns it.
    pub async fn start(mut self) -> Self {
        self.run().await;
        self
    }

    /// Starts the server, also after [`Pebble::stop`], and waits until it listens.
    pub async fn run(&mut self) {
        let file = |name: &str| self.folder.path().join(name);
        let (http, tls) = self.targets;
        let accounts: BTreeMap<_, _> = self.accounts.iter().copied().collect();
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": format!("127.0.0.1:{}", self.management),
            "certificate": file("pebble.pem"),
            "privateKey": file("pebble.key"),
            "httpPort": http,
            "tlsPort": tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": !self.accounts.is_empty(),
            "externalAccountMACKeys": accounts,
            "certificateValidityPeriod": self.validity,
        }});
        std::fs::write(file("pebble.json"), config.to_string()).expect("a file");
        let dns = format!("127.0.0.1:{}", self.dns);
        let management = format!("127.0.0.1:{}", self.dns_management);
        let mut names = Command::new("pebble-challtestsrv");
        names.args(["-dns01", &dns, "-management", &management, "-defaultIPv6", ""]);
        names.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
        let mut pebble = Command::new("pebble");
        pebble.arg("-config").arg(file("pebble.json")).args(["-dnsserver", &dns]);
        pebble.env("PEBBLE_VA_NOSLEEP", "1");
        for mut command in [names, pebble] {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            self.running.push(command.spawn().expect("Pebble: apt-get install pebble"));
        }
        for port in [self.port, self.management, self.dns_management] {
            until("Pebble listens", async || {
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok()
            })
            .await;
        }
    }

    /// Ends the server's processes at once.
    pub fn stop(&mut self) {
        for mut child in self.running.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The URL of its ACME directory.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The file with the authority of its own server certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A client that trusts the certificates that it issues.
    pub async fn client(&self) -> Client {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.management));
        let stream = self.authority.client().try_connect_to(address, "localhost").await;
        let mut wire = Wire::over(stream.expect("its management"));
        wire.send(get("/roots/0", &["Connection: close"])).await;
        Client::trusting(&wire.response().await.body)
    }

    /// Makes a name resolve to another address.
    pub async fn resolve_to(&self, name: &str, address: &str) {
        let address = serde_json::json!({"host": format!("{name}."), "addresses": [address]});
        let body = address.to_string();
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, self.dns_management));
        let mut wire = Wire::connect(at).await;
        let length = body.len();
        wire.send(format!(
            "POST /add-a HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await;
        assert_eq!(wire.response().await.status(), 200);
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
    }
}
