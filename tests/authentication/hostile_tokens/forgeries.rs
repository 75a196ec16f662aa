//! Hostile tokens that must be computed: other forms of a valid token, other headers of the request, and signatures that the
//! issuer has not made.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};
use tidegate_testing::IdentityProvider;

/// Makes another text of a valid token.
type Form = fn(&str) -> String;

/// Makes a token for the issuer with what another one has; the text is that of valid claims.
type Forgery = fn(&IdentityProvider, &IdentityProvider, &str) -> String;

fn parts(token: &str) -> [&str; 3] {
    let mut parts = token.split('.');
    std::array::from_fn(|_| parts.next().unwrap())
}

fn with_signature(token: &str, signature: &[u8]) -> String {
    let [header, claims, _] = parts(token);
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn signature(token: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(parts(token)[2]).unwrap()
}

/// ECDSA's other form, in DER.
fn der(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(32);
    let integer = |number: &[u8]| [&[2, 33, 0], number].concat();
    let both = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(both.len()).unwrap()], both.as_slice()].concat()
}

/// The order of the group of P-256.
const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

fn order() -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&P256_ORDER[at..at + 2], 16).unwrap();
    (0..32).map(|at| digits(2 * at)).collect()
}

/// Name, section of RFC 8725, form, reason.
pub(crate) const FORMS: &[(&str, &str, Form, &str)] = &[
    ("dot", "", |_| ".".into(), "malformed"),
    ("two dots", "", |_| "..".into(), "malformed"),
    ("three letters", "", |_| "a.b.c".into(), "malformed"),
    ("word", "", |_| "token".into(), "malformed"),
    ("header alone", "", |it| parts(it)[0].into(), "malformed"),
    ("without the signature", "2.1", |it| parts(it)[..2].join("."), "malformed"),
    ("empty signature", "2.1", |it| format!("{}.", parts(it)[..2].join(".")), "signature"),
    ("dot at the end", "", |it| format!("{it}."), "malformed"),
    ("dot at the start", "", |it| format!(".{it}"), "malformed"),
    ("doubled dot", "", |it| it.replacen('.', "..", 1), "malformed"),
    ("four parts", "", |it| format!("{it}.e30"), "malformed"),
    ("encrypted: five parts", "2.3", |it| format!("{it}.e30.e30"), "malformed"),
    ("many dots", "", |it| format!("{it}{}", ".".repeat(2000)), "malformed"),
    ("padding", "", |it| format!("{it}=="), "malformed"),
    ("padding of the header", "", |it| it.replacen('.', "=.", 1), "malformed"),
    ("percent-encoded padding", "", |it| format!("{it}%3D"), "malformed"),
    ("space inside", "", |it| it.replacen('.', " .", 1), "malformed"),
    ("tab inside", "", |it| it.replacen('.', "\t.", 1), "malformed"),
    ("plain base64", "", |it| with_signature(it, &[0xff; 64]).replace('_', "/"), "malformed"),
    (
        "padded base64",
        "",
        |it| format!("{}.{}", parts(it)[..2].join("."), STANDARD.encode(signature(it))),
        "malformed",
    ),
    ("stray bits", "", stray_bits, "malformed"),
    ("no base64", "", |it| it.replacen('e', "!", 1), "malformed"),
    ("letters beyond ASCII", "2.6", |it| it.replacen('e', "é", 1), "malformed"),
    ("zero width space", "2.6", |it| format!("{it}\u{200b}"), "malformed"),
    ("quotes", "", |it| format!("\"{it}\""), "malformed"),
    ("angle brackets", "", |it| format!("<{it}>"), "malformed"),
    ("scheme twice", "", |it| format!("Bearer {it}"), "malformed"),
    ("two tokens", "", |it| format!("{it},{it}"), "malformed"),
    ("two tokens with a space", "", |it| format!("{it} {it}"), "malformed"),
    ("disclosures", "2.8", |it| format!("{it}~WyJhIl0~"), "malformed"),
    ("JSON form", "", json_form, "malformed"),
    ("upper case", "", |it| it.to_uppercase(), "malformed"),
    ("reversed", "", |it| it.chars().rev().collect(), "malformed"),
    ("URL", "2.9", |it| format!("https://example.com/{it}"), "malformed"),
    ("UTF-16 claims", "2.6", |it| with_claims(it, &utf16(it)), "malformed"),
    ("claims that are no UTF-8", "2.6", |it| with_claims(it, b"{\"aud\":\"\xff\"}"), "malformed"),
    (
        "claims with an overlong character",
        "2.6",
        |it| with_claims(it, b"{\"aud\":\"\xc0\xaf\"}"),
        "malformed",
    ),
    (
        "claims that end with NUL",
        "2.6",
        |it| with_claims(it, &[&claims(it), &b"\0"[..]].concat()),
        "malformed",
    ),
    ("zeros as the signature", "2.1", |it| with_signature(it, &[0; 64]), "signature"),
    (
        "order of the group as the signature",
        "2.1",
        |it| with_signature(it, &[order(), order()].concat()),
        "signature",
    ),
    (
        "ones as the signature",
        "2.1",
        |it| with_signature(it, &[[0; 31].as_slice(), &[1], &[0; 31], &[1]].concat()),
        "signature",
    ),
    ("DER as the signature", "2.1", |it| with_signature(it, &der(&signature(it))), "signature"),
    ("short signature", "2.1", |it| with_signature(it, &signature(it)[..63]), "signature"),
    ("one byte of signature", "2.1", |it| with_signature(it, &signature(it)[..1]), "signature"),
    (
        "long signature",
        "2.1",
        |it| with_signature(it, &[&signature(it)[..], &[0]].concat()),
        "signature",
    ),
    (
        "signature twice",
        "2.1",
        |it| with_signature(it, &[signature(it), signature(it)].concat()),
        "signature",
    ),
    (
        "other claims",
        "2.1",
        |it| {
            with_claims(
                it,
                &String::from_utf8(claims(it)).unwrap().replace("alice", "admin").into_bytes(),
            )
        },
        "signature",
    ),
    (
        "white space in the claims",
        "2.1",
        |it| with_claims(it, &[&claims(it), &b" "[..]].concat()),
        "signature",
    ),
];

fn claims(token: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(parts(token)[1]).unwrap()
}

fn with_claims(token: &str, claims: &[u8]) -> String {
    let [header, _, signature] = parts(token);
    format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims))
}

fn utf16(token: &str) -> Vec<u8> {
    let text = String::from_utf8(claims(token)).unwrap();
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn json_form(token: &str) -> String {
    let [header, claims, signature] = parts(token);
    json!({"protected": header, "payload": claims, "signature": signature}).to_string()
}

/// The same bytes with another last character: 64 bytes leave four bits of it unused.
fn stray_bits(token: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = token.as_bytes().to_vec();
    let last = text.last_mut().unwrap();
    let at = ALPHABET.iter().position(|it| it == last).unwrap();
    *last = ALPHABET[at + 1];
    String::from_utf8(text).unwrap()
}

/// Name, header of the request with `{token}` for a valid token, reason.
pub(crate) const FIELDS: &[(&str, &str, &str)] = &[
    ("no token", "Authorization: Bearer", "missing"),
    ("space for a token", "Authorization: Bearer ", "missing"),
    ("no scheme", "Authorization: {token}", "missing"),
    ("other scheme", "Authorization: Token {token}", "missing"),
    ("scheme JWT", "Authorization: JWT {token}", "missing"),
    ("scheme DPoP", "Authorization: DPoP {token}", "missing"),
    ("equals sign", "Authorization: Bearer={token}", "missing"),
    ("colon", "Authorization: Bearer: {token}", "missing"),
    ("scheme at the end", "Authorization: {token} Bearer", "missing"),
    ("parameter", "Authorization: Bearer token={token}", "malformed"),
    ("other header", "Proxy-Authorization: Bearer {token}", "missing"),
    ("header of another scheme", "X-Access-Token: {token}", "missing"),
    ("cookie that is not configured", "Cookie: access_token={token}", "missing"),
    ("underscore", "Authorization_: Bearer {token}", "missing"),
];

fn hmac_by(key: &[u8], algorithm: hmac::Algorithm, name: &str, claims: &str) -> String {
    let header = json!({"alg": name, "typ": "JWT", "kid": "rs256-1"}).to_string();
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(algorithm, key), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

/// A token that the other issuer's key signs, with this in its header.
fn by_other(evil: &IdentityProvider, algorithm: &str, more: Value, claims: &str) -> String {
    let mut header = json!({"alg": algorithm});
    header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    evil.sign_text(algorithm, &header.to_string(), claims)
}

fn unsigned(algorithm: &str, claims: &str) -> String {
    let header = json!({"alg": algorithm, "typ": "JWT"}).to_string();
    format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// Name, section of RFC 8725, forgery, reason.
pub(crate) const FORGERIES: &[(&str, &str, Forgery, &str)] = &[
    ("unsigned, none", "2.1", |_, _, claims| unsigned("none", claims), "algorithm"),
    ("unsigned, None", "2.1", |_, _, claims| unsigned("None", claims), "algorithm"),
    ("unsigned, nOnE", "2.1", |_, _, claims| unsigned("nOnE", claims), "algorithm"),
    ("unsigned, ES256", "2.1", |_, _, claims| unsigned("ES256", claims), "signature"),
    (
        "public key in PEM as the secret",
        "2.1",
        |own, _, claims| {
            hmac_by(own.public_pem("RS256").as_bytes(), hmac::HMAC_SHA256, "HS256", claims)
        },
        "algorithm",
    ),
    (
        "public key in PEM without the last line break",
        "2.1",
        |own, _, claims| {
            hmac_by(own.public_pem("RS256").trim().as_bytes(), hmac::HMAC_SHA256, "HS256", claims)
        },
        "algorithm",
    ),
    (
        "public key in PEM as a longer secret",
        "2.1",
        |own, _, claims| {
            hmac_by(own.public_pem("RS256").as_bytes(), hmac::HMAC_SHA512, "HS512", claims)
        },
        "algorithm",
    ),
    (
        "JSON Web Key as the secret",
        "2.1",
        |own, _, claims| {
            hmac_by(own.jwk("RS256").to_string().as_bytes(), hmac::HMAC_SHA256, "HS256", claims)
        },
        "algorithm",
    ),
    (
        "modulus as the secret",
        "2.1",
        |own, _, claims| {
            let modulus = own.jwk("RS256")["n"].as_str().unwrap().to_owned();
            hmac_by(modulus.as_bytes(), hmac::HMAC_SHA256, "HS256", claims)
        },
        "algorithm",
    ),
    (
        "HMAC that calls itself RS256",
        "2.1",
        |own, _, claims| {
            hmac_by(own.public_pem("RS256").as_bytes(), hmac::HMAC_SHA256, "RS256", claims)
        },
        "signature",
    ),
    (
        "empty secret",
        "2.2",
        |_, _, claims| hmac_by(b"", hmac::HMAC_SHA256, "HS256", claims),
        "algorithm",
    ),
    (
        "word as the secret",
        "2.2",
        |_, _, claims| hmac_by(b"secret", hmac::HMAC_SHA256, "HS256", claims),
        "algorithm",
    ),
    ("other key", "2.1", |_, evil, claims| by_other(evil, "ES256", json!({}), claims), "signature"),
    (
        "other key with the id of the right one",
        "2.1",
        |_, evil, claims| by_other(evil, "ES256", json!({"kid": "es256-1"}), claims),
        "signature",
    ),
    (
        "other key by EdDSA",
        "2.1",
        |_, evil, claims| by_other(evil, "EdDSA", json!({"kid": "eddsa-1"}), claims),
        "signature",
    ),
    (
        "key in the header",
        "2.9",
        |_, evil, claims| {
            by_other(evil, "ES256", json!({"jwk": evil.jwk("ES256"), "kid": "es256-1"}), claims)
        },
        "signature",
    ),
    (
        "key in the header, of another id",
        "2.9",
        |_, evil, claims| {
            by_other(evil, "ES256", json!({"jwk": evil.jwk("ES256"), "kid": "evil"}), claims)
        },
        "unknown_key",
    ),
    (
        "key in the header, without an id",
        "2.9",
        |_, evil, claims| by_other(evil, "ES256", json!({"jwk": evil.jwk("ES256")}), claims),
        "signature",
    ),
    (
        "URL of a key set in the header",
        "2.9",
        |_, evil, claims| {
            by_other(evil, "ES256", json!({"jku": evil.jwks_url(), "kid": "es256-1"}), claims)
        },
        "signature",
    ),
    (
        "URL of a key set as the key id",
        "2.9",
        |_, evil, claims| by_other(evil, "ES256", json!({"kid": evil.jwks_url()}), claims),
        "unknown_key",
    ),
    (
        "URL of a certificate in the header",
        "2.9",
        |_, evil, claims| {
            by_other(
                evil,
                "RS256",
                json!({"x5u": evil.issuer() + "/cert", "kid": "es256-1"}),
                claims,
            )
        },
        "algorithm",
    ),
    (
        "certificate in the header",
        "2.9",
        |_, evil, claims| {
            by_other(evil, "ES256", json!({"x5c": ["MIIB"], "x5t": "AA", "kid": "es256-1"}), claims)
        },
        "signature",
    ),
    ("token of the other issuer", "2.7", |_, evil, _| evil.token(json!({})), "issuer"),
    (
        "token of the other issuer for this one",
        "3.8",
        |own, evil, _| evil.token(json!({"iss": own.issuer()})),
        "signature",
    ),
    ("logout token", "2.8", |own, _, _| own.logout_token(json!({"sub": "alice"})), "token_type"),
    (
        "logout token without its type",
        "2.8",
        |own, _, _| {
            let token = own.logout_token(json!({"sub": "alice"}));
            let claims: Value = serde_json::from_slice(&claims(&token)).unwrap();
            own.sign(json!({"alg": "ES256", "kid": "es256-1"}), &claims)
        },
        "token_type",
    ),
    (
        "signature of another token",
        "2.1",
        |own, _, _| {
            let (one, other) = (own.token(json!({"sub": "a"})), own.token(json!({"sub": "b"})));
            with_signature(&one, &signature(&other))
        },
        "signature",
    ),
    (
        "claims of another token",
        "2.1",
        |own, _, _| {
            let (one, other) = (own.token(json!({"sub": "a"})), own.token(json!({"sub": "b"})));
            with_claims(&one, &claims(&other))
        },
        "signature",
    ),
    (
        "header of another algorithm",
        "3.1",
        |own, _, _| {
            let (one, other) = (own.token(json!({})), own.token_by("EdDSA", json!({})));
            format!("{}.{}.{}", parts(&other)[0], parts(&one)[1], parts(&one)[2])
        },
        "signature",
    ),
];
