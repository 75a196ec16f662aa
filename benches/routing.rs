//! Finding a route among 10 and among 10,000: the cost should not grow with their number.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use std::hint::black_box;
use tidegate::routing::{PathRule, Query, Rule, Table};
use tidegate_http::path::normalize;

fn table(routes: usize) -> Table<usize> {
    let rule = |n: usize| Rule {
        path: PathRule::prefix(&format!("/api/team-{}/service-{n}", n % 100)),
        hosts: vec![],
        methods: vec![],
        headers: vec![],
        query: vec![],
    };
    Table::new((0..routes).map(|n| (rule(n), n)).collect())
}

fn find(criterion: &mut Criterion) {
    let headers = HeaderMap::new();
    let mut group = criterion.benchmark_group("route");
    for routes in [10, 100, 10_000] {
        let table = table(routes);
        let query = Query {
            path: "/api/team-7/service-7/notifications/42",
            query: Some("userId=user-1"),
            host: "gateway.example.com",
            method: &Method::GET,
            headers: &headers,
        };
        group.bench_with_input(BenchmarkId::from_parameter(routes), &query, |bencher, query| {
            bencher.iter(|| black_box(table.find(black_box(query)).is_ok()));
        });
    }
    group.finish();
    criterion.bench_function("path, normal already", |bencher| {
        bencher.iter(|| black_box(normalize(black_box("/api/team-7/service-7/x")).is_ok()));
    });
    criterion.bench_function("path, to be normalised", |bencher| {
        bencher.iter(|| black_box(normalize(black_box("/api/%74eam-7/./service-7//x")).is_ok()));
    });
}

criterion_group!(benches, find);
criterion_main!(benches);
