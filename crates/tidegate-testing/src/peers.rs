//! nginx, HAProxy and Caddy with a careful configuration: defaults, kept-alive connections upstream, and a timeout of
//! three seconds for slow clients. It does not know what a test compares.

use crate::{WAIT_TIMEOUT, free_port};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Another proxy, with the configuration for comparisons.
pub struct Peer {
    /// Its name, for reports.
    pub name: &'static str,
    /// The program, and its path if `PATH` has no sbin.
    programs: [&'static str; 2],
    /// The option that prints its version.
    version: &'static str,
    arguments: &'static [&'static str],
    config: &'static str,
}

/// The proxies for the corpus of requests.
pub const REQUEST_PEERS: [&Peer; 2] = [&NGINX, &HAPROXY];

/// The proxies for the corpus of responses.
pub const RESPONSE_PEERS: [&Peer; 3] = [&NGINX, &HAPROXY, &CADDY];

/// nginx.
pub static NGINX: Peer = Peer {
    name: "nginx",
    programs: ["nginx", "/usr/sbin/nginx"],
    version: "-v",
    arguments: &["-c"],
    config: "
daemon off;
master_process off;
pid @DIR@/pid;
error_log stderr crit;
events {}
http {
    access_log off;
    client_header_timeout 3s;
    client_body_timeout 3s;
    client_body_temp_path @DIR@/body;
    proxy_temp_path @DIR@/proxy;
    fastcgi_temp_path @DIR@/fastcgi;
    uwsgi_temp_path @DIR@/uwsgi;
    scgi_temp_path @DIR@/scgi;
    upstream service { server @UPSTREAM@; keepalive 16; }
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    server {
        listen 127.0.0.1:@PORT@;
        listen 127.0.0.1:@H2_PORT@ http2;
        location / {
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }
    }
}
",
};

/// HAProxy.
pub static HAPROXY: Peer = Peer {
    name: "HAProxy",
    programs: ["haproxy", "/usr/sbin/haproxy"],
    version: "-v",
    arguments: &["-db", "-f"],
    config: "
global
    nbthread 1
defaults
    mode http
    http-reuse always
    timeout connect 3s
    timeout client 3s
    timeout http-request 3s
    timeout server 10s
frontend edge
    bind 127.0.0.1:@PORT@
    bind 127.0.0.1:@H2_PORT@ proto h2
    default_backend service
backend service
    server service @UPSTREAM@
",
};

/// Caddy.
pub static CADDY: Peer = Peer {
    name: "Caddy",
    programs: ["caddy", "/usr/sbin/caddy"],
    version: "version",
    arguments: &["run", "--adapter", "caddyfile", "--config"],
    config: "
{
    admin off
    auto_https off
    storage file_system @DIR@
}
http://:@PORT@ {
    bind 127.0.0.1
    reverse_proxy @UPSTREAM@
}
",
};

/// A running peer, in its own folder.
pub struct Running {
    child: Child,
    address: SocketAddr,
    http2: SocketAddr,
    _folder: TempDir,
}

impl Peer {
    fn program(&self) -> Option<&'static str> {
        self.programs.into_iter().find(|program| {
            let mut command = Command::new(program);
            command.arg(self.version).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })
    }

    /// Its version, such as `1.22.1`; `None` when it is not installed.
    pub fn version(&self) -> Option<String> {
        let output = Command::new(self.program()?).arg(self.version).output().ok()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let numbers = said.split([' ', '/', '-', '\n', '+']);
        let is_version =
            |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
        numbers.into_iter().find(is_version).map(str::to_owned)
    }

    /// Starts it in front of this upstream and waits until it listens.
    pub async fn start(&self, upstream: SocketAddr) -> Running {
        let folder = TempDir::new().expect("a folder");
        let (port, http2) = (free_port(), free_port());
        let file = folder.path().join("config");
        let config = self.config.replace("@DIR@", &folder.path().to_string_lossy());
        let config = config.replace("@PORT@", &port.to_string());
        let config = config.replace("@H2_PORT@", &http2.to_string());
        std::fs::write(&file, config.replace("@UPSTREAM@", &upstream.to_string())).expect("a file");
        let child = Command::new(self.program().expect("it is installed"))
            .args(self.arguments)
            .arg(&file)
            // Caddy keeps its last configuration there.
            .env("XDG_CONFIG_HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let http2 = SocketAddr::from((Ipv4Addr::LOCALHOST, http2));
        let running = Running { child, address, http2, _folder: folder };
        let deadline = Instant::now() + WAIT_TIMEOUT;
        while tokio::net::TcpStream::connect(address).await.is_err() {
            assert!(Instant::now() < deadline, "{} does not listen", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        running
    }
}

impl Running {
    /// The address where it accepts HTTP/1.1.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address where it accepts HTTP/2 without TLS.
    pub fn http2(&self) -> SocketAddr {
        self.http2
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
