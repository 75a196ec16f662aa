//! A key that signs tokens. It does not know what a token says.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

/// RSA keys, since ring makes none. Generations take turns.
const RSA: [&[u8]; 2] = [include_bytes!("rsa-1.pkcs8"), include_bytes!("rsa-2.pkcs8")];

/// A key with the public part of it.
pub(super) struct SigningKey {
    pub(super) id: String,
    pub(super) algorithm: &'static str,
    pub(super) jwk: Value,
    pkcs8: Vec<u8>,
    signer: Signer,
}

enum Signer {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// New keys, one for each algorithm, whose ids end with this number.
    pub(super) fn generation(number: usize) -> Vec<Self> {
        vec![Self::es256(number), Self::rs256(number), Self::eddsa(number)]
    }

    fn es256(number: usize) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pkcs8 = pkcs8.as_ref().to_vec();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random).expect("a key");
        let (x, y) = key.public_key().as_ref()[1..].split_at(32);
        let public = json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)});
        Self::new("ES256", number, public, pkcs8, Signer::Ecdsa(key))
    }

    fn rs256(number: usize) -> Self {
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(RSA[number % 2]).expect("PEM");
        let pkcs8 = pkcs8.secret_pkcs8_der().to_vec();
        let key = RsaKeyPair::from_pkcs8(&pkcs8).expect("a key");
        let PublicKeyComponents::<Vec<u8>> { n, e } = key.public().into();
        let public = json!({"kty": "RSA", "n": base64url(&n), "e": base64url(&e)});
        Self::new("RS256", number, public, pkcs8, Signer::Rsa(key))
    }

    fn eddsa(number: usize) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pkcs8 = pkcs8.as_ref().to_vec();
        let key = Ed25519KeyPair::from_pkcs8(&pkcs8).expect("a key");
        let x = base64url(key.public_key().as_ref());
        let public = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        Self::new("EdDSA", number, public, pkcs8, Signer::Ed25519(key))
    }

    fn new(
        algorithm: &'static str,
        number: usize,
        mut jwk: Value,
        pkcs8: Vec<u8>,
        signer: Signer,
    ) -> Self {
        let id = format!("{}-{number}", algorithm.to_lowercase());
        jwk["kid"] = json!(id);
        jwk["alg"] = json!(algorithm);
        jwk["use"] = json!("sig");
        Self { id, algorithm, jwk, pkcs8, signer }
    }

    /// The signature of a message.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Ecdsa(key) => key.sign(&random, message).expect("signed").as_ref().to_vec(),
            Signer::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Signer::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("signed");
                signature
            }
        }
    }

    /// The public key in PEM.
    pub(super) fn public_pem(&self) -> String {
        rcgen::KeyPair::try_from(self.pkcs8.as_slice()).expect("a key").public_key_pem()
    }
}

/// Base64url without padding (RFC 7515, section 2).
pub(super) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
