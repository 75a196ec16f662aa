//! Reads a file of API keys, with the reader of the configuration. Judges no hash and no time.

use super::ApiKeyFile;
use crate::diagnostics::ProblemCollector;
use crate::{Span, check, yaml};
use schemars::schema_for;
use serde::Deserialize;
use std::path::Path;

impl ApiKeyFile {
    /// Reads the text of a file. Its problems are added to those of the configuration, with positions in this file.
    /// `$` has no meaning here: hashes are full of it.
    pub fn read(path: &Path, text: &str, problems: &mut ProblemCollector) -> Option<Self> {
        let number = problems.register_file(path)?;
        let mut faults = Vec::new();
        let root = yaml::parse(text, number, &mut faults).unwrap_or_else(|fault| {
            faults.push(fault);
            None
        });
        let has_faults = !faults.is_empty();
        for fault in faults {
            problems.add(fault.span, "", fault.reason);
        }
        let Some(root) = root.filter(|root| !root.is_null()) else {
            if !has_faults {
                let span = Span { file: number, line: 1, column: 1 };
                problems
                    .add(span, "", "the file has no keys")
                    .help("write the list `keys`; `keys: []` admits nobody");
            }
            return None;
        };
        let schema = schema_for!(Self).to_value();
        let (sound, _) = check::check(&schema, &root, problems);
        let sound = sound?;
        Self::deserialize(&sound)
            .map_err(|error| {
                // The check reports what the types refuse; this is for what it may overlook.
                problems.add(sound.span, "", error.to_string());
            })
            .ok()
    }
}
