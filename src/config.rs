//! Reads a configuration for programs that use the library: its problems, its summary, its schema, its formatted form.
//! The types of the file itself are no part of this API.
//!
//! [`Config`](crate::Config) reads one, and [`Gateway::check`](crate::Gateway::check) reports all [`Problems`] of it
//! with their positions, or a [`Summary`]. [`reference_markdown`] and [`json_schema`] list its keys.

pub use crate::gateway::Summary;
pub use tidegate_config::{
    FormatError, Problem, Problems, Variables, format_yaml, json_schema, reference_markdown,
};
pub use tidegate_http::address::Address;
