//! The schedule of weighted round robin, computed once per pool. Knows nothing of endpoints.

/// Smooth weighted round robin, written out once: each index as often as its weight says, its
/// turns spread as evenly as can be.
pub(super) fn smooth_weighted_order(weights: &[u32]) -> Box<[usize]> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let weights: Vec<i64> = weights.iter().map(|&weight| i64::from(weight / divisor)).collect();
    let total: i64 = weights.iter().sum();
    let mut credit = vec![0_i64; weights.len()];
    (0..total)
        .filter_map(|_| {
            for (credit, weight) in credit.iter_mut().zip(&weights) {
                *credit += weight;
            }
            // The first of the richest; `max_by_key` would take the last.
            let (next, richest) = credit
                .iter_mut()
                .enumerate()
                .reduce(|best, candidate| if *candidate.1 > *best.1 { candidate } else { best })?;
            *richest -= total;
            Some(next)
        })
        .collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::smooth_weighted_order;

    #[test]
    fn equal_weights_alternate() {
        assert_eq!(*smooth_weighted_order(&[7, 7, 7]), [0, 1, 2]);
    }

    #[test]
    fn turns_of_a_heavy_endpoint_are_spread_out() {
        assert_eq!(*smooth_weighted_order(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn schedule_of_no_endpoints_is_empty() {
        assert!(smooth_weighted_order(&[]).is_empty());
    }
}
