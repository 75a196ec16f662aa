//! Whether an origin is allowed, by policies of several sizes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderValue, Method};
use std::hint::black_box;
use tidegate::filter::{CorsFilter, CorsPolicy};
use tidegate_http::origin::OriginPattern;

fn filter(origins: usize) -> CorsFilter {
    let listed = (0..origins).map(|n| format!("https://app-{n}.example.com"));
    let wildcard = "https://*.preview.example.com".to_owned();
    CorsFilter::new(CorsPolicy {
        origins: listed.chain([wildcard]).filter_map(|o| OriginPattern::parse(&o)).collect(),
        methods: vec![Method::GET, Method::POST],
        headers: None,
        expose: vec![],
        credentials: true,
        max_age: 600,
        private_network: false,
    })
}

fn decide(criterion: &mut Criterion) {
    let allowed = HeaderValue::from_static("https://a.preview.example.com");
    let refused = HeaderValue::from_static("https://preview.example.com.evil.com");
    for (name, origin) in [("origin allowed", allowed), ("origin refused", refused)] {
        let mut group = criterion.benchmark_group(name);
        for origins in [1, 10, 100] {
            let filter = filter(origins);
            group.bench_with_input(BenchmarkId::from_parameter(origins), &origin, |b, origin| {
                b.iter(|| black_box(filter.allows(black_box(origin))));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, decide);
criterion_main!(benches);
