//! Tests of the pool. They open no socket.

use super::*;
use crate::upstream::{Endpoint, Health};

const SECOND: u64 = 1_000;

const RULES: Ejection = Ejection {
    connect_failures: Some(1),
    server_errors: None,
    duration: Duration::from_secs(10),
    max_percent: 100,
};

/// A pool of endpoints of these weights, at `10.0.0.1`, `10.0.0.2` and so on; those of weight 0
/// are backups.
fn pool(weights: &[u32], settings: PoolSettings) -> Pool {
    let endpoint = |(index, &weight): (usize, &u32)| {
        Arc::new(Endpoint::new(&format!("10.0.0.{}", index + 1), 80, weight.max(1), weight == 0))
    };
    let endpoints = weights.iter().enumerate().map(endpoint).collect();
    Pool::new("service", endpoints, settings, Arc::default())
}

fn health(pool: &Pool, index: usize) -> &Health {
    pool.endpoints()[index].health()
}

/// How often each endpoint is chosen at this time, of so many; each is done at once.
fn picks(pool: &Pool, now: u64, count: usize) -> Vec<usize> {
    let mut picks = vec![0; pool.endpoints().len()];
    for _ in 0..count {
        let tier = pool.tier(now);
        let chosen = pool.by_policy(tier, now, SelectionHint::default()).expect("an endpoint");
        let own = |it: &Arc<Endpoint>| Arc::ptr_eq(it, chosen.endpoint());
        picks[pool.endpoints().iter().position(own).expect("its own")] += 1;
    }
    picks
}

fn about(count: usize, expected: usize) -> bool {
    count.abs_diff(expected) * 20 <= expected
}

#[test]
fn better_of_two_random_endpoints_is_selected() {
    let settings = PoolSettings { balance: Balance::PeakEwma, ..PoolSettings::default() };
    let pool = pool(&[1; 5], settings);
    for (index, milliseconds) in [30, 10, 50, 20, 40].into_iter().enumerate() {
        health(&pool, index).record_latency(Duration::from_millis(milliseconds));
    }
    let picks = picks(&pool, now(), 20_000);
    // Of ten pairs, the best is in four, the next best in three without it, and so on.
    for (index, expected) in [(1, 8_000), (3, 6_000), (0, 4_000), (4, 2_000)] {
        assert!(about(picks[index], expected), "{index}: {picks:?}");
    }
    assert_eq!(picks[2], 0, "there is always a better one");
}

#[test]
fn in_flight_requests_and_weight_decide_between_two() {
    let settings = PoolSettings { balance: Balance::PeakEwma, ..PoolSettings::default() };
    let pool = pool(&[1, 1, 4], settings);
    for index in 0..3 {
        health(&pool, index).record_latency(Duration::from_millis(20));
    }
    let before = picks(&pool, now(), 9_000);
    assert!(about(before[2], 6_000), "four times as strong: {before:?}");
    // Five requests at it, and it is no better than the others any more.
    (0..5).for_each(|_| health(&pool, 2).count_in_flight());
    assert_eq!(picks(&pool, now(), 9_000)[2], 0);
}

#[test]
fn unhealthy_endpoint_is_never_a_candidate() {
    let settings =
        PoolSettings { balance: Balance::PeakEwma, panic_below: 50, ..PoolSettings::default() };
    let pool = pool(&[1; 4], settings);
    health(&pool, 1).record_check(false, 1, 1);
    let picks = picks(&pool, now(), 9_000);
    assert_eq!(picks[1], 0);
    assert!(picks.iter().filter(|&&count| about(count, 3_000)).count() == 3, "{picks:?}");
}

#[test]
fn below_panic_threshold_backups_or_all_primaries_are_used() {
    for (weights, panic_below, unhealthy, used) in [
        (&[1, 1, 1, 1][..], 50, 2, &[false, false, true, true][..]),
        (&[1, 1, 1, 1], 50, 3, &[true; 4]),
        (&[1, 1, 1, 1], 25, 3, &[false, false, false, true]),
        (&[1, 1, 1, 1], 0, 4, &[true; 4]),
        (&[1, 1, 1, 0], 50, 1, &[false, true, true, false]),
        (&[1, 1, 1, 0], 50, 2, &[false, false, true, true]),
        (&[1, 1, 1, 0], 30, 2, &[false, false, true, false]),
    ] {
        let settings = PoolSettings { panic_below, ..PoolSettings::default() };
        let pool = pool(weights, settings);
        for index in 0..unhealthy {
            health(&pool, index).record_check(false, 1, 1);
        }
        let now_used: Vec<_> = picks(&pool, now(), 400).iter().map(|&count| count > 0).collect();
        assert_eq!(now_used, used, "{weights:?}, {unhealthy} unhealthy, {panic_below}");
    }
}

#[test]
fn slow_start_ramps_share_after_recovery() {
    let slow_start = Duration::from_secs(100);
    let pool = pool(&[1, 1], PoolSettings { slow_start, ..PoolSettings::default() });
    assert_eq!(picks(&pool, now(), 10_000), [5_000, 5_000], "it was never away");
    let back = now() + health(&pool, 1).eject(&RULES).as_millis() as u64;
    // A tenth of its turns at first, half of them at half time, all in the end.
    for (after, expected) in [(1, 500), (50, 2_500), (75, 3_750)] {
        let picks = picks(&pool, back + after * SECOND, 10_000);
        let summary = format!("after {after} s: {picks:?}, not {expected} of 10,000");
        assert!(picks[1].abs_diff(expected) < 200, "{summary}");
    }
    assert_eq!(picks(&pool, back + 101 * SECOND, 10_000), [5_000, 5_000]);
}

#[test]
fn slow_start_reduces_weight_in_load_based_balancing() {
    for balance in [Balance::LeastRequests, Balance::PeakEwma] {
        let slow_start = Duration::from_secs(100);
        let pool = pool(&[1, 1], PoolSettings { balance, slow_start, ..PoolSettings::default() });
        (0..2).for_each(|index| health(&pool, index).record_latency(Duration::from_millis(20)));
        let back = now() + health(&pool, 1).eject(&RULES).as_millis() as u64;
        // Four at the one that was there are less than one at a tenth, and more than one at a half.
        (0..3).for_each(|_| health(&pool, 0).count_in_flight());
        assert_eq!(picks(&pool, back + SECOND, 100), [100, 0]);
        assert_eq!(picks(&pool, back + 50 * SECOND, 100), [0, 100]);
    }
}
