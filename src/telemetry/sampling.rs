//! Which part of the requests the access log keeps. It knows nothing of the line itself.

use tidegate_http::stable_hash::stable_hash;

/// Which part of the requests is logged, by the class of their status: 1xx to 5xx, each from 0 to
/// 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampling(pub [f64; 5]);

impl Sampling {
    /// Whether this request is logged: at its start and at its end, or never.
    pub(crate) fn should_log<'i>(&self, status: u16, request_id: impl FnOnce() -> &'i str) -> bool {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        match self.0.get(class) {
            Some(ratio) if *ratio < 1.0 => hash_fraction(request_id()) < *ratio,
            _ => true,
        }
    }
}

/// From 0 to below 1, by a request's id.
fn hash_fraction(request_id: &str) -> f64 {
    (stable_hash(request_id) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampling_takes_its_share_and_is_deterministic() {
        let sampling = Sampling([1.0, 0.25, 1.0, 0.0, 1.0]);
        let ids: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
        let taken = |status| ids.iter().filter(|id| sampling.should_log(status, || id)).count();
        assert!((2300..2700).contains(&taken(200)), "{}", taken(200));
        assert_eq!(taken(200), taken(299));
        assert_eq!((taken(301), taken(404), taken(500), taken(999)), (10_000, 0, 10_000, 10_000));
    }
}
