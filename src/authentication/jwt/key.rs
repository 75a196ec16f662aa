//! Keys that verify tokens: read from JSON Web Keys and from PEM, each with the algorithms of its type and no other. Knows
//! nothing of claims, and of where keys come from.

use ring::hmac;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value};
use std::fmt;
use tidegate_config::JwtAlgorithm;
use tidegate_http::jwt;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Sizes of RSA keys, in bits: shorter ones are weak (RFC 7518, section 3.3), longer ones let a stranger's tokens take
/// much time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Object identifiers of the types of keys in PEM: RFC 8410 and RFC 5480.
const ED25519: &str = "1.3.101.112";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";

/// A key that verifies tokens.
pub(crate) struct VerificationKey {
    /// `kid`; a key without one may have signed any token.
    id: Option<String>,
    /// `alg`: the only algorithm that it is for.
    algorithm: Option<String>,
    material: Material,
}

/// The key itself. Its type decides which algorithms verify with it (RFC 8725, section 3.1): the header of a token only
/// chooses among these.
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
    Secret(Vec<u8>),
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl VerificationKey {
    /// A secret that the gateway shares with the issuer.
    pub(crate) fn secret(secret: &str) -> Self {
        Self { id: None, algorithm: None, material: Material::Secret(secret.as_bytes().to_vec()) }
    }

    /// Reads a JSON Web Key (RFC 7517); `Ok(None)` if it is not for verifying tokens.
    ///
    /// # Errors
    /// When it is for verifying tokens, and is not usable.
    pub(crate) fn from_jwk(jwk: &Map<String, Value>) -> Result<Option<Self>, &'static str> {
        let text = |name: &str| match jwk.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err("a member has the wrong type"),
        };
        let is_for_signatures = text("use")?.is_none_or(|usage| usage == "sig");
        let verifies = match jwk.get("key_ops") {
            None => true,
            Some(Value::Array(operations)) => operations.iter().any(|it| it == "verify"),
            Some(_) => return Err("`key_ops` is not a list"),
        };
        if !is_for_signatures || !verifies {
            return Ok(None);
        }
        let bytes = |name: &str| {
            let text = text(name)?.ok_or("a member is missing")?;
            jwt::decode(text.as_bytes()).map_err(|_| "a member is not base64url")
        };
        let material = match (text("kty")?, text("crv")?) {
            (Some("RSA"), _) => Material::rsa(&bytes("n")?, &bytes("e")?)?,
            (Some("EC"), Some("P-256")) => {
                Material::P256(point(&bytes("x")?, &bytes("y")?, P256_SIZE)?)
            }
            (Some("EC"), Some("P-384")) => {
                Material::P384(point(&bytes("x")?, &bytes("y")?, P384_SIZE)?)
            }
            (Some("OKP"), Some("Ed25519")) => Material::ed25519(bytes("x")?)?,
            // A published secret is none, and other types have no algorithm here.
            _ => return Ok(None),
        };
        let [id, algorithm] = [text("kid")?, text("alg")?].map(|it| it.map(str::to_owned));
        Ok(Some(Self { id, algorithm, material }))
    }

    /// Reads public keys in PEM (`PUBLIC KEY`).
    ///
    /// # Errors
    /// When there is none, or one is not usable.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Vec<Self>, String> {
        let mut keys = Vec::new();
        for item in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
            let item = item.map_err(|error| format!("invalid PEM: {error}"))?;
            let material = Material::from_spki(&item)?;
            keys.push(Self { id: None, algorithm: None, material });
        }
        match keys.is_empty() {
            true => Err("it has no `-----BEGIN PUBLIC KEY-----`".to_owned()),
            false => Ok(keys),
        }
    }

    /// Whether it has an id.
    pub(crate) fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// Whether a token with this `kid` may be signed by it.
    pub(crate) fn is_named(&self, id: Option<&str>) -> bool {
        match (&self.id, id) {
            (Some(own), Some(id)) => own == id,
            _ => true,
        }
    }

    /// Whether it verifies tokens by this algorithm.
    pub(crate) fn fits(&self, algorithm: JwtAlgorithm) -> bool {
        let is_its_own = self.algorithm.as_ref().is_none_or(|own| own == name_of(algorithm));
        is_its_own && self.material.fits(algorithm)
    }

    /// Whether the signature of the message is by this key and algorithm.
    pub(crate) fn verifies(
        &self,
        algorithm: JwtAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        self.fits(algorithm) && self.material.verifies(algorithm, message, signature)
    }
}

const P256_SIZE: usize = 32;
const P384_SIZE: usize = 48;

impl Material {
    fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, &'static str> {
        let [modulus, exponent] = [modulus, exponent].map(without_leading_zeros);
        let bits = modulus
            .first()
            .map_or(0, |first| (modulus.len() * 8).saturating_sub(first.leading_zeros() as usize));
        if !RSA_BITS.contains(&bits) {
            return Err("an RSA key must have 2048 to 8192 bits");
        }
        // With 1 every message would be its own signature; a long one takes much time.
        let is_usable = match exponent {
            [] | [0..=2] => false,
            exponent => exponent.len() <= 4,
        };
        if !is_usable {
            return Err("the exponent of an RSA key must have 1 to 4 bytes and be at least 3");
        }
        Ok(Self::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
    }

    fn ed25519(key: Vec<u8>) -> Result<Self, &'static str> {
        match key.len() {
            32 => Ok(Self::Ed25519(key)),
            _ => Err("an Ed25519 key must have 32 bytes"),
        }
    }

    fn from_spki(der: &[u8]) -> Result<Self, String> {
        let invalid = "it has a public key that is not usable".to_owned();
        let (rest, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| invalid.clone())?;
        if !rest.is_empty() {
            return Err(invalid);
        }
        let bytes = info.subject_public_key.data.to_vec();
        if info.algorithm.algorithm.to_id_string() == ED25519 {
            return Ok(Self::ed25519(bytes)?);
        }
        match info.parsed().map_err(|_| invalid)? {
            PublicKey::RSA(key) => Ok(Self::rsa(key.modulus, key.exponent)?),
            PublicKey::EC(_) => {
                let curve = info.algorithm.parameters.as_ref().and_then(|it| it.as_oid().ok());
                match (curve.map(|it| it.to_id_string()).as_deref(), &*bytes) {
                    (Some(P256), [4, point @ ..]) if point.len() == 2 * P256_SIZE => {
                        Ok(Self::P256(bytes))
                    }
                    (Some(P384), [4, point @ ..]) if point.len() == 2 * P384_SIZE => {
                        Ok(Self::P384(bytes))
                    }
                    _ => Err("an elliptic key must be an uncompressed point of P-256 or P-384"
                        .to_owned()),
                }
            }
            _ => Err("a public key must be of RSA, P-256, P-384 or Ed25519".to_owned()),
        }
    }

    fn fits(&self, algorithm: JwtAlgorithm) -> bool {
        use JwtAlgorithm::{
            ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512,
        };
        match self {
            Self::Rsa { .. } => {
                matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512)
            }
            Self::P256(_) => matches!(algorithm, ES256),
            Self::P384(_) => matches!(algorithm, ES384),
            Self::Ed25519(_) => matches!(algorithm, EdDSA),
            Self::Secret(_) => matches!(algorithm, HS256 | HS384 | HS512),
        }
    }

    fn verifies(&self, algorithm: JwtAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        let by_rsa = |parameters| match self {
            Self::Rsa { modulus: n, exponent: e } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            _ => false,
        };
        let by_secret = |algorithm| match self {
            Self::Secret(secret) => {
                let key = hmac::Key::new(algorithm, secret);
                // In constant time.
                hmac::verify(&key, message, signature).is_ok()
            }
            _ => false,
        };
        let by_point = |parameters, key: &[u8]| {
            UnparsedPublicKey::new(parameters, key).verify(message, signature).is_ok()
        };
        match (algorithm, self) {
            (JwtAlgorithm::RS256, _) => by_rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            (JwtAlgorithm::RS384, _) => by_rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            (JwtAlgorithm::RS512, _) => by_rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            (JwtAlgorithm::PS256, _) => by_rsa(&signature::RSA_PSS_2048_8192_SHA256),
            (JwtAlgorithm::PS384, _) => by_rsa(&signature::RSA_PSS_2048_8192_SHA384),
            (JwtAlgorithm::PS512, _) => by_rsa(&signature::RSA_PSS_2048_8192_SHA512),
            (JwtAlgorithm::ES256, Self::P256(key)) => {
                by_point(&signature::ECDSA_P256_SHA256_FIXED, key)
            }
            (JwtAlgorithm::ES384, Self::P384(key)) => {
                by_point(&signature::ECDSA_P384_SHA384_FIXED, key)
            }
            (JwtAlgorithm::EdDSA, Self::Ed25519(key)) => {
                UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signature).is_ok()
            }
            (JwtAlgorithm::HS256, _) => by_secret(hmac::HMAC_SHA256),
            (JwtAlgorithm::HS384, _) => by_secret(hmac::HMAC_SHA384),
            (JwtAlgorithm::HS512, _) => by_secret(hmac::HMAC_SHA512),
            (JwtAlgorithm::ES256 | JwtAlgorithm::ES384 | JwtAlgorithm::EdDSA, _) => false,
        }
    }
}

/// An uncompressed point. Whether it is on the curve (RFC 8725, section 3.4) is checked at each verification.
fn point(x: &[u8], y: &[u8], size: usize) -> Result<Vec<u8>, &'static str> {
    if x.len() != size || y.len() != size {
        return Err("a coordinate has the wrong length");
    }
    Ok([&[4], x, y].concat())
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    number.get(first..).unwrap_or_default()
}

/// All algorithms, by their names (RFC 7518, section 3.1; RFC 8037). `none` has no name here.
pub(crate) const ALGORITHMS: [(&str, JwtAlgorithm); 12] = [
    ("ES256", JwtAlgorithm::ES256),
    ("ES384", JwtAlgorithm::ES384),
    ("RS256", JwtAlgorithm::RS256),
    ("RS384", JwtAlgorithm::RS384),
    ("RS512", JwtAlgorithm::RS512),
    ("PS256", JwtAlgorithm::PS256),
    ("PS384", JwtAlgorithm::PS384),
    ("PS512", JwtAlgorithm::PS512),
    ("EdDSA", JwtAlgorithm::EdDSA),
    ("HS256", JwtAlgorithm::HS256),
    ("HS384", JwtAlgorithm::HS384),
    ("HS512", JwtAlgorithm::HS512),
];

/// The name of an algorithm.
pub(crate) fn name_of(algorithm: JwtAlgorithm) -> &'static str {
    ALGORITHMS.iter().find(|(_, it)| *it == algorithm).map_or("", |(name, _)| name)
}

/// Minimum length of a secret in bytes: that of the algorithm's hash (RFC 7518, section 3.2); 0 for public keys.
pub(crate) fn min_secret_length(algorithm: JwtAlgorithm) -> usize {
    match algorithm {
        JwtAlgorithm::HS256 => 32,
        JwtAlgorithm::HS384 => 48,
        JwtAlgorithm::HS512 => 64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::rand::SystemRandom;
    use ring::rsa::PublicKeyComponents;
    use ring::signature::{
        ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
        RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    };
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use serde_json::json;

    const MESSAGE: &[u8] = b"header.claims";

    fn jwk(value: Value) -> Result<Option<VerificationKey>, &'static str> {
        VerificationKey::from_jwk(value.as_object().unwrap())
    }

    fn base64url(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The algorithms that accept the signature.
    fn accepted_by(key: &VerificationKey, signature: &[u8]) -> Vec<&'static str> {
        let accepts = |algorithm: &JwtAlgorithm| key.verifies(*algorithm, MESSAGE, signature);
        ALGORITHMS.iter().filter(|(_, it)| accepts(it)).map(|(name, _)| *name).collect()
    }

    fn rsa() -> (RsaKeyPair, Value) {
        let pem =
            include_bytes!("../../../crates/tidegate-testing/src/identity_provider/rsa-1.pkcs8");
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(pem).unwrap();
        let key = RsaKeyPair::from_pkcs8(pkcs8.secret_pkcs8_der()).unwrap();
        let PublicKeyComponents::<Vec<u8>> { n, e } = key.public().into();
        let public = json!({"kty": "RSA", "n": base64url(&n), "e": base64url(&e)});
        (key, public)
    }

    #[test]
    fn each_signature_is_accepted_by_its_own_algorithm_alone() {
        let random = SystemRandom::new();
        let (private, public) = rsa();
        let key = jwk(public).unwrap().unwrap();
        let encodings: [(&str, &'static dyn RsaEncoding); 6] = [
            ("RS256", &RSA_PKCS1_SHA256),
            ("RS384", &RSA_PKCS1_SHA384),
            ("RS512", &RSA_PKCS1_SHA512),
            ("PS256", &RSA_PSS_SHA256),
            ("PS384", &RSA_PSS_SHA384),
            ("PS512", &RSA_PSS_SHA512),
        ];
        for (name, encoding) in encodings {
            let mut signature = vec![0; private.public().modulus_len()];
            private.sign(encoding, &random, MESSAGE, &mut signature).unwrap();
            assert_eq!(accepted_by(&key, &signature), [name]);
        }
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).unwrap();
        let private =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8.as_ref(), &random);
        let private = private.unwrap();
        let (x, y) = private.public_key().as_ref()[1..].split_at(48);
        let public = json!({"kty": "EC", "crv": "P-384", "x": base64url(x), "y": base64url(y)});
        let signature = private.sign(&random, MESSAGE).unwrap();
        assert_eq!(accepted_by(&jwk(public).unwrap().unwrap(), signature.as_ref()), ["ES384"]);
        let secret = "a secret of more than sixty-four characters, which is for all three of them";
        for (name, algorithm) in [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
        ] {
            let tag = hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), MESSAGE);
            assert_eq!(accepted_by(&VerificationKey::secret(secret), tag.as_ref()), [name]);
        }
    }

    #[test]
    fn keys_that_are_weak_or_malformed_are_refused() {
        let (_, public) = rsa();
        let with = |name: &str, value: Value| {
            let mut key = public.clone();
            key[name] = value;
            jwk(key)
        };
        assert!(with("use", json!("sig")).is_ok_and(|key| key.is_some()));
        let zeros = |count| [vec![0; count], vec![0xff; 256]].concat();
        assert!(with("n", json!(base64url(&zeros(1)))).is_ok(), "a leading zero is no bit");
        for (name, value) in [
            ("n", json!(base64url(&[0xff; 255]))),
            ("n", json!(base64url(&[0x7f; 256]))),
            ("n", json!(base64url(&[0xff; 1025]))),
            ("n", json!("")),
            ("n", json!("AQAB==")),
            ("n", json!(1)),
            ("n", Value::Null),
            ("e", json!("AQ")),
            ("e", json!("Ag")),
            ("e", json!("")),
            ("e", json!("AAAA")),
            ("e", json!("AQAAAAAB")),
            ("key_ops", json!("verify")),
            ("kid", json!(["k"])),
        ] {
            assert!(with(name, value.clone()).is_err(), "{name}: {value}");
        }
        for key in [
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
            json!({"kty": "EC", "crv": "P-256", "x": base64url(&[1; 32])}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
        ] {
            assert!(jwk(key.clone()).is_err(), "{key}");
        }
        for key in [
            json!({}),
            json!({"kty": "oct", "k": base64url(&[7; 64])}),
            json!({"kty": "OKP", "crv": "X25519", "x": base64url(&[1; 32])}),
            json!({"kty": "EC", "crv": "secp256k1", "x": base64url(&[1; 32]), "y": base64url(&[1; 32])}),
        ] {
            assert!(jwk(key.clone()).is_ok_and(|it| it.is_none()), "{key} is for nothing here");
        }
    }
}
