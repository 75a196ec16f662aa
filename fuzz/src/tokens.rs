//! JSON Web Tokens: what holds for any bytes. Knows no keys.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidegate_http::jwt::{self, UnverifiedToken};
use tidegate_http::strict_json;

/// A text is a token in one way only, and what is read of it is what every parser reads.
pub fn tokens(bytes: &[u8]) {
    one_token(bytes);
    // Into the JSON as well, which random base64url is none of.
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n').map(base64url);
    let (header, claims) = (parts.next(), parts.next());
    one_token(
        &[header.unwrap_or_default(), claims.unwrap_or_default(), b"c2ln".to_vec()].join(&b'.'),
    );
    if let Ok(members) = strict_json::object(bytes) {
        let read: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!(read, serde_json::Value::Object(members));
    }
}

fn one_token(text: &[u8]) {
    let Ok(token) = UnverifiedToken::parse(text) else { return };
    assert!(text.len() <= jwt::MAX_TOKEN_BYTES && text.is_ascii());
    let again = [token.signed, &base64url(&token.signature)].join(&b'.');
    assert_eq!(again, text, "other base64url for the same signature");
    let decoded = |part: &[u8]| jwt::decode(part).expect("base64url");
    let parts: Vec<_> = token.signed.split(|byte| *byte == b'.').map(decoded).collect();
    let [header, claims] = parts.as_slice() else { panic!("two parts are signed") };
    assert_eq!([base64url(header), base64url(claims)].join(&b'.'), token.signed);
    let read = |part: &[u8]| serde_json::from_slice::<serde_json::Value>(part).expect("JSON");
    assert_eq!(read(claims), serde_json::Value::Object(token.claims));
    let header = read(header);
    assert_eq!(header["alg"], token.header.algorithm);
    assert_eq!(header.get("kid").and_then(|it| it.as_str()), token.header.key_id.as_deref());
    assert!(header.get("crit").is_none() && header.get("b64").is_none());
    for more in [b"=".as_slice(), b".", b" ", b"\0"] {
        assert!(UnverifiedToken::parse(&[text, more].concat()).is_err());
    }
}

fn base64url(bytes: &[u8]) -> Vec<u8> {
    URL_SAFE_NO_PAD.encode(bytes).into_bytes()
}
