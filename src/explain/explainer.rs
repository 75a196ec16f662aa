//! Answers questions about one configuration. It knows nothing of the running gateway.

use super::{Difference, Explanation, Outline, RequestToExplain, explain};
use crate::snapshot::Snapshot;
use std::fmt;

/// Says what a gateway would do with requests; [`Gateway::explainer`](crate::Gateway::explainer) makes one.
pub struct Explainer(Snapshot);

/// No more than that it is one: what a configuration holds may be secret.
impl fmt::Debug for Explainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explainer").finish_non_exhaustive()
    }
}

impl Explainer {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self(snapshot)
    }

    /// What would become of this request, and why. Nothing is sent.
    pub async fn explain(&self, request: &RequestToExplain) -> Explanation {
        explain(&self.0, request).await
    }

    /// What a running gateway is asked with: what does this configuration do otherwise?
    pub(crate) fn outline(&self) -> String {
        // Strings, numbers and lists always become JSON.
        serde_json::to_string(&Outline::from_snapshot(&self.0)).unwrap_or_default()
    }

    /// What the other one's configuration does otherwise.
    pub fn difference(&self, other: &Self) -> Difference {
        Difference::between(&self.0, &other.0)
    }
}
