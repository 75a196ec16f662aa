//! What there is to know of a configuration: its problems, its summary, its schema, its usual form.
//!
//! [`Config`](crate::Config) reads one, and [`Gateway::check`](crate::Gateway::check) reports all [`Problems`] of it
//! with their positions, or a [`Summary`]. The types of the file itself are no part of this API: its keys are
//! ([`reference_markdown`], [`json_schema`]).

pub use crate::gateway::Summary;
pub use tidegate_config::{
    Problem, Problems, Variables, format_yaml, json_schema, reference_markdown,
};
pub use tidegate_http::address::Address;
