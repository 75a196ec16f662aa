//! A route serves the files of its folder, and no others.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tidegate_testing::{Config, Gateway, cli, get};

/// A built front end, and a secret beside it.
fn front_end() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
        fs::write(path, text).expect("a file");
    };
    write("secret.txt", "SECRET");
    write("site/index.html", "<h1>home</h1>");
    write("site/app.js", "0123456789");
    write("site/empty.css", "");
    write("site/assets/logo-1a2b.svg", "<svg/>");
    write("site/docs/index.html", "<h1>docs</h1>");
    write("site/bare/page.html", "bare");
    write("site/a b/ü&x.txt", "odd");
    write("site/.env", "SECRET");
    write("site/.git/config", "SECRET");
    write("site/.well-known/security.txt", "mailto:");
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, folder.path().join("site").join(name)).expect("a link");
    };
    link("app.js", "inside.js");
    link("../secret.txt", "outside.txt");
    link("/etc/passwd", "absolute.txt");
    link("..", "up");
    link("/etc", "etc");
    folder
}

async fn serving(folder: &TempDir, more: &[&str]) -> Gateway {
    let root = folder.path().join("site");
    let files =
        format!("files: {{root: {:?}, fallback: /index.html, immutable: [assets/**]}}", root);
    let config = Config::new().answer("site", "path_prefix: /", &files);
    more.iter().fold(config, |config, line| config.top(line)).start().await
}

#[tokio::test]
async fn files_of_the_folder_are_served() {
    let folder = front_end();
    let gateway = serving(&folder, &[]).await;
    for (target, body, content_type) in [
        ("/", "<h1>home</h1>", "text/html; charset=utf-8"),
        ("/app.js", "0123456789", "text/javascript; charset=utf-8"),
        ("/inside.js?v=1", "0123456789", "text/javascript; charset=utf-8"),
        ("/empty.css", "", "text/css; charset=utf-8"),
        ("/docs/", "<h1>docs</h1>", "text/html; charset=utf-8"),
        ("/a%20b/%C3%BC&x.txt", "odd", "text/plain; charset=utf-8"),
        ("/.well-known/security.txt", "mailto:", "text/plain; charset=utf-8"),
        ("/assets/logo-1a2b.svg", "<svg/>", "image/svg+xml"),
        ("/users/7", "<h1>home</h1>", "text/html; charset=utf-8"),
        ("/bare/", "<h1>home</h1>", "text/html; charset=utf-8"),
    ] {
        let answer = gateway.get(target, &[]).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, body), "{target}");
        assert_eq!(answer.head.only("content-type"), Some(content_type), "{target}");
        assert_eq!(answer.head.only("accept-ranges"), Some("bytes"), "{target}");
        assert_eq!(answer.head.only("x-content-type-options"), Some("nosniff"), "{target}");
        let kept = if target.starts_with("/assets") {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        assert_eq!(answer.head.only("cache-control"), Some(kept), "{target}");
    }
    let folder = gateway.get("/docs?a=b", &[]).await;
    assert_eq!((folder.status(), folder.head.only("location")), (308, Some("/docs/?a=b")));
    let missed = gateway.get("/gone.js", &[]).await;
    assert_eq!((missed.status(), &missed.error()["error"]), (404, &"no_file".into()));
    let posted = gateway.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((posted.status(), posted.head.only("allow")), (405, Some("GET, HEAD")));
    let mut wire = gateway.connect().await;
    wire.send("HEAD /app.js HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = wire.head().await;
    assert_eq!((head.status(), head.only("content-length")), (Some(200), Some("10")));
    wire.send(get("/app.js", &[])).await;
    assert_eq!(wire.response().await.text(), "0123456789");
}

#[tokio::test]
async fn files_outside_the_folder_are_never_served() {
    let folder = front_end();
    let gateway = serving(&folder, &[]).await;
    for target in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "/docs/../../secret.txt",
        "/....//secret.txt",
        "/..;/secret.txt",
        "/%252e%252e/secret.txt",
        "//etc/passwd",
        "/outside.txt",
        "/absolute.txt",
        "/up/secret.txt",
        "/etc/passwd",
        "/etc/hostname.x",
        "/.env",
        "/.git/config",
        "/%2eenv",
        "/docs/%00.txt",
        "/app.js/",
        "/app.js/x.txt",
    ] {
        let answer = gateway.get(target, &[]).await;
        let is_page = answer.status() == 200 && answer.text() == "<h1>home</h1>";
        assert!(is_page || matches!(answer.status(), 400 | 404), "{target}: {}", answer.status());
        assert!(!answer.text().contains("SECRET") && !answer.text().contains("root:"), "{target}");
    }
}

#[tokio::test]
async fn rfc9110_13_unchanged_file_is_answered_304() {
    let folder = front_end();
    let gateway = serving(&folder, &[]).await;
    let first = gateway.get("/app.js", &[]).await;
    let etag = first.head.only("etag").expect("an ETag").to_owned();
    let modified = first.head.only("last-modified").expect("a date").to_owned();
    let mut wire = gateway.connect().await;
    for field in [format!("If-None-Match: W/{etag}"), format!("If-Modified-Since: {modified}")] {
        wire.send(get("/app.js", &[&field])).await;
        let answer = wire.response().await;
        assert_eq!((answer.status(), answer.head.only("etag")), (304, Some(etag.as_str())));
        assert_eq!(answer.head.get("content-length"), None);
    }
    fs::write(folder.path().join("site/app.js"), "changed").expect("the file");
    wire.send(get("/app.js", &[&format!("If-None-Match: {etag}")])).await;
    let answer = wire.response().await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "changed"));
    assert_ne!(answer.head.only("etag"), Some(etag.as_str()));
    let failed = gateway.get("/app.js", &[&format!("If-Match: {etag}")]).await;
    assert_eq!(failed.status(), 412);
}

#[tokio::test]
async fn rfc9110_14_range_of_a_file_is_answered_206() {
    let folder = front_end();
    let gateway = serving(&folder, &["compression: {min_size: 1B}"]).await;
    for (range, status, content_range, body) in [
        ("bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("bytes=7-", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=-1", 206, Some("bytes 9-9/10"), "9"),
        ("bytes=0-1,4-5", 200, None, "0123456789"),
        ("lines=1-2", 200, None, "0123456789"),
    ] {
        let answer = gateway.get("/app.js", &[&format!("Range: {range}")]).await;
        assert_eq!((answer.status(), answer.text().as_str()), (status, body), "{range}");
        assert_eq!(answer.head.only("content-range"), content_range, "{range}");
    }
    let beyond = gateway.get("/app.js", &["Range: bytes=10-"]).await;
    assert_eq!((beyond.status(), beyond.head.only("content-range")), (416, Some("bytes */10")));
    let other = gateway.get("/app.js", &["Range: bytes=0-0", "If-Range: \"old\""]).await;
    assert_eq!((other.status(), other.text().as_str()), (200, "0123456789"));
    let part = gateway.get("/app.js", &["Range: bytes=0-8", "Accept-Encoding: gzip"]).await;
    assert_eq!((part.status(), part.head.get("content-encoding")), (206, None));
    // Section 14.2: the range of any other method is ignored.
    let mut wire = gateway.connect().await;
    wire.send("HEAD /app.js HTTP/1.1\r\nHost: localhost\r\nRange: bytes=2-4\r\n\r\n").await;
    let head = wire.head().await;
    assert_eq!((head.status(), head.only("content-length")), (Some(200), Some("10")));
    assert_eq!(head.only("content-range"), None);
    let whole = gateway.get("/app.js", &["Accept-Encoding: gzip"]).await;
    assert_eq!(whole.head.only("content-encoding"), Some("gzip"));
    assert!(whole.head.only("etag").is_some_and(|etag| etag.starts_with("W/\"")));
}

#[tokio::test]
async fn large_file_is_served_with_little_memory() {
    const SIZE: u64 = 256 << 20;
    let folder = front_end();
    let large = fs::File::create(folder.path().join("site/large.bin")).expect("a file");
    large.set_len(SIZE).expect("its size");
    let gateway = Arc::new(serving(&folder, &[]).await);
    let before = gateway.peak_memory();
    let mut wire = gateway.connect().await;
    wire.send(get("/large.bin", &[])).await;
    let head = wire.head().await;
    assert_eq!(head.only("content-length"), Some(SIZE.to_string().as_str()));
    let mut left = SIZE;
    while left > 0 {
        let piece = left.min(1 << 20);
        wire.exactly(usize::try_from(piece).expect("a size")).await;
        left -= piece;
    }
    let grown = gateway.peak_memory() - before;
    assert!(grown < 32 << 20, "{grown} bytes more");
}

#[tokio::test]
async fn replaced_folder_is_served_and_a_prefix_removed() {
    let folder = front_end();
    let link = folder.path().join("current");
    std::os::unix::fs::symlink(folder.path().join("site"), &link).expect("a link");
    let gateway = Config::new()
        .answer(
            "app",
            "path_prefix: /app",
            &format!("files: {{root: {link:?}, cache_control: max-age=60}}"),
        )
        .with("rewrite: {prefix: /}")
        .start()
        .await;
    let answer = gateway.get("/app/app.js", &[]).await;
    assert_eq!(
        (answer.text().as_str(), answer.head.only("cache-control")),
        ("0123456789", Some("max-age=60"))
    );
    assert_eq!(gateway.get("/app/", &[]).await.text(), "<h1>home</h1>");
    assert_eq!(gateway.get("/app/docs", &[]).await.head.only("location"), Some("/app/docs/"));
    assert_eq!(gateway.get("/app/users", &[]).await.status(), 404, "there is no fallback");
    let next = folder.path().join("next");
    fs::create_dir(&next).expect("a folder");
    fs::write(next.join("app.js"), "new").expect("a file");
    let new_link = folder.path().join("new-link");
    std::os::unix::fs::symlink(&next, &new_link).expect("a link");
    fs::rename(&new_link, &link).expect("the link replaced");
    assert_eq!(gateway.get("/app/app.js", &[]).await.text(), "new");
}

#[tokio::test]
async fn missing_folder_is_refused_by_check() {
    let folder = front_end();
    let file = folder.path().join("tidegate.yaml");
    let secret = folder.path().join("secret.txt");
    let yaml = Config::new()
        .answer("a", "path_prefix: /a", "files: {root: ./no-such-folder, index: a/b}")
        .answer("b", "path: /b", &format!("files: {{root: {secret:?}, immutable: [\"a**b\"]}}"))
        .with("rewrite: {prefix: /}")
        .yaml(3000);
    fs::write(&file, yaml).expect("the file");
    let run =
        cli(Path::new("."), &["check", "--config", file.to_str().expect("a path")], &[]).await;
    assert_eq!(run.code, Some(78));
    for told in [
        "routes[0].files.root: cannot open the folder `./no-such-folder`: No such file",
        "routes[0].files.index: must be a file name",
        "routes[1].files.root: ",
        "is not a folder",
        "routes[1].files.immutable[0]: `a**b` is not a valid pattern",
        "routes[1].rewrite.prefix: `rewrite.prefix` needs `match.path_prefix`",
    ] {
        assert!(run.stderr.contains(told), "{told} in:\n{}", run.stderr);
    }
}
