//! What the certificate of a client says about it. It trusts nothing; the verifier has decided before.

use crate::exchange::{ClientCertificate, TlsInfo};
use rustls::{ProtocolVersion, ServerConnection};
use std::fmt::Write as _;
use tidegate_http::control::is_control;
use x509_parser::der_parser::asn1_rs::Any;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

impl TlsInfo {
    pub(super) fn from_connection(connection: &ServerConnection) -> Self {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        };
        let cipher = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let client = connection.peer_certificates().and_then(<[_]>::first);
        Self {
            version,
            cipher: cipher.unwrap_or_default(),
            server_name: connection.server_name().map(str::to_owned),
            client: client.and_then(|der| ClientCertificate::parse(der)),
        }
    }
}

impl ClientCertificate {
    fn parse(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let alternatives = parsed.subject_alternative_name().ok().flatten();
        let names = alternatives.iter().flat_map(|extension| &extension.value.general_names);
        Some(Self {
            subject: distinguished_name(parsed.subject()),
            alternative_names: names.filter_map(alternative_name).collect(),
        })
    }
}

/// The attributes of a name, each value escaped as RFC 4514, section 2.4, says, so that no value can look like another
/// attribute.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let registry = oid_registry();
    let mut text = String::new();
    for rdn in name.iter_rdn() {
        for (index, attribute) in rdn.iter().enumerate() {
            if !text.is_empty() {
                text.push_str(if index > 0 { " + " } else { ", " });
            }
            match oid2abbrev(attribute.attr_type(), registry) {
                Ok(short) => text.push_str(short),
                Err(_) => text.push_str(&attribute.attr_type().to_id_string()),
            }
            text.push('=');
            match attribute.as_str() {
                Ok(value) => push_escaped(&mut text, value),
                Err(_) => push_hex(&mut text, attribute.attr_value()),
            }
        }
    }
    text
}

fn push_escaped(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        let is_escaped = match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => true,
            ' ' => index == 0 || index == last,
            '#' => index == 0,
            _ => false,
        };
        if is_escaped {
            text.push('\\');
            text.push(c);
        } else if is_control(c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                // Writing into a string can't fail.
                let _ = write!(text, "\\{byte:02X}");
            }
        } else {
            text.push(c);
        }
    }
}

/// A value that is not text: `#` and its encoding (section 2.4).
fn push_hex(text: &mut String, value: &Any<'_>) {
    text.push('#');
    for byte in value.data {
        let _ = write!(text, "{byte:02X}");
    }
}

/// Alternative names are joined by commas where they are shown.
fn escaped(value: impl AsRef<str>) -> String {
    let mut text = String::new();
    push_escaped(&mut text, value.as_ref());
    text
}

fn alternative_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{}", escaped(name))),
        GeneralName::URI(uri) => Some(format!("URI:{}", escaped(uri))),
        GeneralName::RFC822Name(address) => Some(format!("email:{}", escaped(address))),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| format!("IP:{address}")),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(v6).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4514_2_4_value_cannot_look_like_another_attribute() {
        for (value, shown) in [
            ("billing", "billing"),
            ("a, O=Admin", "a\\, O=Admin"),
            ("a + CN=admin", "a \\+ CN=admin"),
            (" #x ", "\\ #x\\ "),
            ("#x", "\\#x"),
            ("\"<;>\\", "\\\"\\<\\;\\>\\\\"),
            ("a\nb\0\u{202e}", "a\\0Ab\\00\\E2\\80\\AE"),
            ("Müller", "Müller"),
            ("", ""),
        ] {
            assert_eq!(escaped(value), shown, "{value:?}");
        }
    }
}
