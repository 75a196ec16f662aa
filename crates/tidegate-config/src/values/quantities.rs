//! Durations, sizes and switches, read and written back with their units. Knows no configuration key.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use std::borrow::Cow;
use std::str::FromStr;

/// The longest duration: 100 years. A clock can add it to the present time without an overflow.
const MAX_DURATION: std::time::Duration = std::time::Duration::from_secs(100 * 31_557_600);

/// A span of time: `30s`, `10m`, `1h 30m`, `250ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration(pub std::time::Duration);

impl FromStr for Duration {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        if !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("a duration needs a unit: write `{written}s` for seconds"));
        }
        let duration = humantime::parse_duration(written).map_err(|_| {
            "not a duration; write it like `30s`, `10m`, `1h 30m` or `250ms`".to_owned()
        })?;
        match duration <= MAX_DURATION {
            true => Ok(Self(duration)),
            false => Err("a duration must not exceed 100 years (`100y`)".to_owned()),
        }
    }
}

impl Serialize for Duration {
    /// As it would be written: in the largest unit that leaves a whole number, a minute in seconds.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
        let is_whole = |(unit, name): &&(u128, &str)| {
            millis.is_multiple_of(*unit) && (millis > *unit || *name == "s")
        };
        match units.iter().find(is_whole) {
            Some((unit, name)) => serializer.collect_str(&format_args!("{}{name}", millis / unit)),
            None => serializer.collect_str(&format_args!("{millis}ms")),
        }
    }
}

/// A number of bytes: `64KiB`, `1MiB`, `500kB`, `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        written
            .parse::<bytesize::ByteSize>()
            .map(|size| Self(size.as_u64()))
            .map_err(|_| "not a size; write it like `64KiB`, `1MiB` or `4096`".to_owned())
    }
}

impl Serialize for ByteSize {
    /// As it would be written: in the largest unit that leaves a whole number.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let units = [(1024 * 1024 * 1024, "GiB"), (1024 * 1024, "MiB"), (1024, "KiB")];
        let is_whole = |(unit, _): &&(u64, &str)| self.0 > 0 && self.0.is_multiple_of(*unit);
        match units.iter().find(is_whole) {
            Some((unit, name)) => serializer.collect_str(&format_args!("{}{name}", self.0 / unit)),
            None => serializer.collect_str(&self.0),
        }
    }
}

/// On or off. YAML 1.1 reads `off` as a boolean, YAML 1.2 as a string; both are meant here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch(pub bool);

impl FromStr for Switch {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        match written.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" => Ok(Self(true)),
            "off" | "false" | "no" => Ok(Self(false)),
            _ => Err("expected `on` or `off`".to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The tree hands a scalar over as it is written when a string is asked for.
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Switch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0 { "on" } else { "off" })
    }
}

impl JsonSchema for Switch {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Switch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"enum": ["on", "off", true, false]})
    }
}
