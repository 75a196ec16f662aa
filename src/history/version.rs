//! A version of the configuration that took effect, and its cause. It knows nothing of where versions are
//! kept.

use super::VersionFiles;
use crate::explain::Difference;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::SystemTime;

/// A configuration that took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    /// Counts up with each.
    pub number: u64,
    /// When it took effect.
    #[serde(with = "rfc3339")]
    pub time: SystemTime,
    /// Why it did.
    pub cause: VersionCause,
    /// What it does otherwise than the one before.
    pub difference: Difference,
    /// What it was read from.
    pub files: VersionFiles,
}

/// Why a version took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VersionCause {
    /// The gateway started with it.
    Start,
    /// Its file was edited.
    Edit,
    /// Somebody went back to the version of this number.
    Rollback(u64),
    /// The guard went back to it.
    Guard {
        /// To the version of this number.
        to: u64,
        /// What was worse in the one that it left.
        because: String,
    },
}

impl fmt::Display for VersionCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Edit => f.write_str("edit"),
            Self::Rollback(to) => write!(f, "rollback to {to}"),
            Self::Guard { to, because } => {
                write!(f, "reload.guard rolled back to version {to}: {because}")
            }
        }
    }
}

mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::SystemTime;

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_rfc3339_millis(*time))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_rfc3339(&text).map_err(D::Error::custom)
    }
}
