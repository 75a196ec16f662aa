//! The smallest parts of a configuration, each a type with its own text form: durations, sizes, addresses, names. The
//! types know neither the keys that use them nor the gateway.

mod addresses;
mod names;
mod quantities;
mod spanned;

pub use addresses::{Cidr, EndpointAddress, ListenAddress, TrustedProxy};
pub use names::{
    ErrorStatus, Exactly, HeaderName, HostPattern, HostRewrite, LostCode, Method, OriginPattern,
    Path, ProbeTarget, RequiredScheme, Template,
};
pub use quantities::{ByteSize, Duration, Switch};
pub use spanned::{Span, Spanned};

pub(crate) use spanned::SPANNED_TYPE_NAME;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer};
use std::borrow::Cow;

/// Makes a type a leaf of the configuration: a string that its `FromStr` judges, known to the
/// schema by its format.
macro_rules! leaves {
    ($($leaf:ident: $format:literal, $example:literal;)*) => {
        $(
            impl<'de> Deserialize<'de> for $leaf {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let written = Cow::<'de, str>::deserialize(deserializer)?;
                    written.parse().map_err(de::Error::custom)
                }
            }

            impl JsonSchema for $leaf {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    stringify!($leaf).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({"type": "string", "format": $format, "examples": [$example]})
                }
            }
        )*

        /// Judges a string by the schema's format; `None` when it isn't one of ours.
        pub(super) fn check_format(format: &str, written: &str) -> Option<Result<(), String>> {
            match format {
                $($format => Some(written.parse::<$leaf>().map(drop)),)*
                _ => None,
            }
        }

        #[cfg(test)]
        pub(super) const EXAMPLES: &[(&str, &str)] = &[$(($format, $example)),*];
    };
}

leaves! {
    Duration: "duration", "30s";
    ByteSize: "byte-size", "1MiB";
    Cidr: "cidr", "10.0.0.0/8";
    TrustedProxy: "trusted-proxy", "10.0.0.0/8";
    ListenAddress: "listen-address", "127.0.0.1:3000";
    EndpointAddress: "endpoint-address", "127.0.0.1:4009";
    OriginPattern: "origin-pattern", "https://*.example.com";
    HostPattern: "host-pattern", "*.example.com";
    HeaderName: "header-name", "x-user-id";
    Method: "http-method", "GET";
    Path: "path", "/api";
    ProbeTarget: "probe-target", "/socket.io/?EIO=4";
    LostCode: "lost-code", "1014";
    Exactly: "exact-value", "2";
    Template: "template", "{client.address}";
    ErrorStatus: "error-status", "5xx";
    HostRewrite: "host-rewrite", "upstream";
    RequiredScheme: "required-scheme", "accounts";
}
