//! Compares with nginx.

use super::{Case, agree, case, service, with_body};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidegate_testing::{Gateway, Handshake, Upstream, WAIT_TIMEOUT, cli, free_port, get};

/// nginx at work.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start(file: &Path, address: SocketAddr) -> Nginx {
    let programs = ["nginx", "/usr/sbin/nginx"].into_iter();
    let mut started = programs.filter_map(|program| {
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-c"]).arg(file).stdin(Stdio::null()).stderr(Stdio::null());
        command.spawn().ok()
    });
    let mut nginx = Nginx(started.next().expect("nginx: run scripts/install-deps test"));
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while tokio::net::TcpStream::connect(address).await.is_err() {
        let gone = nginx.0.try_wait().expect("its status");
        assert!(gone.is_none() && Instant::now() < deadline, "nginx does not listen: {gone:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    nginx
}

/// The configuration, in a folder with what it serves.
fn write_nginx_folder(port: u16, one: &Upstream, two: &Upstream) -> (TempDir, std::path::PathBuf) {
    let folder = TempDir::new().expect("a folder");
    // nginx as root serves as somebody else.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("an open folder");
    }
    for (name, text) in [
        ("www/index.html", "<p>index"),
        ("www/app.js", "alert()"),
        ("www/sub/index.html", "<p>sub"),
        ("site/page.html", "<p>page"),
        ("spa/index.html", "<p>spa"),
        ("spa/app.css", "p {}"),
    ] {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, text).expect("a file");
    }
    let original = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/import/replay.nginx.conf");
    let text = std::fs::read_to_string(original)
        .expect("nginx's file")
        .replace("@DIR@", &folder.path().to_string_lossy())
        .replace("@PORT@", &port.to_string())
        .replace("@ONE@", &one.address().to_string())
        .replace("@TWO@", &two.address().to_string());
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, text).expect("a file");
    (folder, file)
}

#[tokio::test]
async fn imported_gateway_routes_as_nginx_does() {
    let (one, two) = (service("one").await, service("two").await);
    let port = free_port();
    let (_folder, file) = write_nginx_folder(port, &one, &two);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let nginx = start(&file, address).await;

    let port = free_port();
    let (folder, _) = write_nginx_folder(port, &one, &two);
    let run = cli(folder.path(), &["import", "nginx", "nginx.conf"], &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.all());
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, &run.stdout).expect("a file");
    let gateway = Gateway::run(folder, file, port).await;

    agree(address, gateway.address(), cases()).await;
    drop(nginx);
}

/// `GET` of the shop.
fn shop(target: &str) -> String {
    get(target, &["Host: shop.test"])
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // Paths, where each location begins and ends.
    cases.extend(
        [
            "/",
            "/x",
            "/x/y/z?a=b",
            "/?a=b&c=%20d",
            "/api/",
            "/api/users",
            "/api/users/7?full=1",
            "/api/users/",
            "/api/deep/",
            "/api/deep/x",
            "/api/deeper/x",
            "/apis/x",
            "/moved/",
            "/moved/x/y?z",
            "/plain",
            "/plain/x",
            "/only",
            "/only/x",
            "/health",
            "/health/x",
            "/gone",
            "/gone/x",
            "/old/",
            "/old/x?y",
            "/temporary/x?y=1",
            "/admin/",
            "/admin/x",
            "/files/app.js",
            "/files/",
            "/files/sub/",
            "/files/none.js",
            "/site/page.html",
            "/spa/app.css",
            "/spa/deep/link",
            "/spa/",
        ]
        .map(|target| case(shop(target))),
    );
    // Encodings.
    cases.extend(
        ["/a%20b", "/api/a%20b", "/a+b", "/api/%C3%BC", "/x?q=%2F%3F"]
            .map(|target| case(shop(target))),
    );
    cases.extend([
        case(shop("/api?a=b")),
        case(shop("/api")).differs("an empty query leaves its `?`"),
        case(shop("/api/deep")).differs("an empty query leaves its `?`"),
        case(shop("/site/none")).differs("`add_header` counts for errors too"),
        case(shop("/%61pi/x")).differs("`{target}` is in its plain form, `$request_uri` is not"),
        case(shop("/x%2Fy")).differs("an encoded slash is refused"),
        case(get("/api/x", &["Host: shop.test", "X-Real-IP: 1.2.3.4"]))
            .differs("what a stranger says of itself is taken away"),
    ]);
    // Hosts.
    for host in ["www.shop.test", "shop.test:8080", "SHOP.test", "admin.test", "unknown.test"] {
        for target in ["/", "/api/x", "/api/v2/x", "/health", "/x/deep/y?z", "/x/y"] {
            cases.push(case(get(target, &[&format!("Host: {host}")])));
        }
    }
    // Methods and bodies.
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        cases.push(case(with_body(&format!("{method} /api/x"), &[], "{\"a\": 1}")));
    }
    for method in ["GET", "POST", "PUT", "DELETE"] {
        cases.push(case(with_body(&format!("{method} /read/x"), &[], "")));
    }
    cases.push(case("HEAD /read/x HTTP/1.1\r\nHost: shop.test\r\n\r\n"));
    cases.push(case("HEAD /api/x HTTP/1.1\r\nHost: shop.test\r\n\r\n"));
    cases.push(case(with_body("POST /small/x", &[], &"x".repeat(1024))));
    cases.push(case(with_body("POST /small/x", &[], &"x".repeat(1025))));
    cases.push(case(with_body("POST /x", &["Content-Type: text/plain"], &"x".repeat(60_000))));
    cases.push(case(with_body("POST /x", &[], &"x".repeat(65_537))));
    cases.push(case(
        "POST /api/x HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n",
    ));
    // Fields.
    for fields in [
        &["Cookie: a=1; b=2", "Authorization: Bearer x"][..],
        &["X-Tenant: other", "X-Asked: 1"],
        &["Accept: text/html", "Accept-Encoding: gzip", "User-Agent: replay"],
        &["X-Many: 1", "X-Many: 2"],
        &["Referer: http://shop.test/", "Origin: http://else.test"],
        &["If-None-Match: \"x\"", "Range: bytes=0-1"],
    ] {
        for target in ["/x", "/api/x"] {
            cases.push(case(get(target, &[&["Host: shop.test"], fields].concat())));
        }
    }
    // WebSockets.
    for target in ["/ws", "/ws/x?userId=1", "/sockets/a"] {
        cases.push(case(Handshake::to(target).set("Host", "shop.test").bytes()));
    }
    cases
}
