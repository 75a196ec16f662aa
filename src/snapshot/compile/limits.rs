use super::Compiler;
use crate::snapshot::Limits;
use std::time::Duration;

/// The least bytes of a body in a second: a line of 2,400 bits a second has more.
const BODY_RATE: u64 = 240;

impl Compiler<'_> {
    pub(super) fn limits(&self) -> Limits {
        let written = &self.config.limits;
        let time = |written: Option<tidegate_config::Duration>, seconds| {
            written.map_or(Duration::from_secs(seconds), |it| it.0)
        };
        Limits {
            header_size: written.header_size.map_or(64 * 1024, |size| size.0),
            header_count: written.header_count.unwrap_or(100),
            uri_size: written.uri_size.map_or(16 * 1024, |size| size.0),
            handshake_timeout: time(written.handshake_timeout, 10),
            header_timeout: time(written.header_timeout, 30),
            idle_timeout: time(written.idle_timeout, 60),
            body_timeout: time(written.body_timeout, 60),
            body_rate: Some(written.body_rate.map_or(BODY_RATE, |size| size.0))
                .filter(|&it| it > 0),
            send_timeout: time(written.send_timeout, 60),
            connections: written.connections,
            connections_per_client: written.connections_per_client,
            requests_per_connection: written.requests_per_connection.unwrap_or(10_000),
            requests: written.requests,
            requests_per_client: written.requests_per_client,
            memory: written.memory.map(|size| size.0),
            concurrent_streams: written.http2.concurrent_streams.unwrap_or(100),
            pending_resets: written.http2.pending_resets.unwrap_or(20),
            error_resets: written.http2.error_resets.unwrap_or(100),
        }
    }
}
