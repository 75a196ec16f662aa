use std::path::Path;

/// Good inputs for a property, to begin with.
pub(crate) fn seeds_for(name: &str) -> Vec<Vec<u8>> {
    match name {
        "config" => files(&["conf", "conf/examples"], &["yaml"]),
        "import" => files(&["tests/gateway/import"], &["conf", "yml", "toml", "js"]),
        "path" => texts(&[
            "/",
            "/api/v1/users/7",
            "/a/./b/../c",
            "//a///b",
            "/%41%2f%2F%5c",
            "/a;x=1/..;/b",
            "/%e2%82%ac/\u{fc}",
        ]),
        "frames" => frames(),
        "websocket" => {
            let mut all = frames();
            all.extend(texts(&[
                "\u{7}HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n\u{1}\u{2}hi",
                "\u{3}HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
                "\u{2}5\r\nhello\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n",
            ]));
            all
        }
        "head" => texts(&[
            "GET /a?b=c HTTP/1.1\r\nHost: a.example:80\r\nConnection: close, x-gone\r\nContent-Length: 12\r\n\r\n",
            "content-length: 18446744073709551615\ntransfer-encoding: chunked\nexpect: 100-continue\n",
            "cookie: a=1; uid=\"user-1\"; b=2\ncookie: uid=other\naccept-encoding: gzip;q=0.5, br, *;q=0\n",
            "if-none-match: W/\"v1\", \"v2\"\nif-modified-since: Thu, 01 Jan 1970 00:00:00 GMT\nrange: bytes=0-9\n",
            "range: bytes=-5\nif-range: \"v1\"\nx-forwarded-for: 10.0.0.1, [2001:db8::7]:80, 192.0.2.1\n",
            "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\ntracestate: a=1,b@c=2\n",
            "accept: text/html, application/json;q=0.9, */*;q=0.1\naccept: text/*;q=nan\n",
        ]),
        "values" => texts(&[
            "a=1&token=s%33cret&b=%zz&&=x&Token=",
            "https://app.example.com:8443",
            "https://*.example.com",
            "null",
            "http://[::1]:3000",
            "user@example.com:80",
            "*.example.com",
            "EXAMPLE.com:",
            "[2001:db8::1]:443",
            "https://{host}{path}?{query}",
            "{{literal}} {user.id}",
            "{client.address}, {request.id}",
        ]),
        "bodies" => {
            texts(&["\u{1}", "\u{2}ab", "\u{3}hello, world", "\u{7f}one part", "\u{4}\0\0\0\0\0"])
        }
        "credentials" => {
            let mut all = files(&["conf/examples/authentication"], &["yaml", "htpasswd"]);
            all.extend(texts(&[
                "QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
                "dGVzdDoxMjPCow==",
                "anna:open sesame",
                "anna:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\nben:$apr1$x$y:comment\n#\n:\n",
                "keys: [{name: a, hash: \"sha256:00\", scopes: [a], expires: 2027-01-01T00:00:00Z}]",
            ]));
            all
        }
        "redact" => texts(&[
            r#"{"a": 1, "token": "s\"ecret", "b": {"Token":123}}"#,
            "token=abc&b=2; TOKEN: x, c",
            "\\\"token\\\":\\\"x\\\"",
            "token : '",
        ]),
        "jwt" => texts(&[
            "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUvIiwiYXVkIjoiY2hhdCJ9.c2ln",
            "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"JWT\"}\n{\"iss\":\"i\",\"aud\":[\"chat\"],\"exp\":1e9}",
            "{\"alg\":\"none\",\"crit\":[\"b64\"],\"b64\":false}\n{}",
            r#"{"a":[1,-2,3.5e-7,true,null,{"b":"\u00e9\n"}],"c":{},"d":18446744073709551615}"#,
        ]),
        other => panic!("{other} has no seeds"),
    }
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The files of these folders with such names.
fn files(folders: &[&str], extensions: &[&str]) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths = Vec::new();
    for folder in folders {
        let listed = std::fs::read_dir(root.join(folder)).expect("a folder");
        paths.extend(listed.map(|entry| entry.expect("an entry").path()).filter(|path| {
            path.extension().is_some_and(|it| extensions.iter().any(|wanted| it == *wanted))
        }));
    }
    // Not in whatever order they lie in.
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| std::fs::read(path).expect("a file")).collect()
}

/// What follows the byte that says how they are split: messages masked and not, compressed, pieces
/// of a message with a ping between, a close frame.
fn frames() -> Vec<Vec<u8>> {
    let hello: &[u8] =
        &[3, 0x81, 0x85, 1, 2, 3, 4, b'h' ^ 1, b'e' ^ 2, b'l' ^ 3, b'l' ^ 4, b'o' ^ 1];
    let compressed: &[u8] = &[5, 0xc1, 0x87, 0, 0, 0, 0, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let pieces: &[u8] =
        &[2, 0x01, 0x02, b'a', b'b', 0x89, 0x00, 0x80, 0x01, b'c', 0x88, 0x02, 3, 0xe8];
    let long = [&[9, 0x82, 0x7e, 0x01, 0x00][..], &[b'x'; 256]].concat();
    vec![hello.to_vec(), compressed.to_vec(), pieces.to_vec(), long]
}
