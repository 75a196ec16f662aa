//! Compiles `limits`. It knows nothing of the current load.

use super::Compiler;
use crate::snapshot::RequestLimits;
use tidegate_config::{ByteSize, Duration, defaults::http2_limits, defaults::limits};

impl Compiler<'_> {
    pub(super) fn limits(&self) -> RequestLimits {
        let written = &self.config.limits;
        let time = |written: Option<Duration>, default| written.unwrap_or(default).0;
        let size = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
        let collected_bodies = size(written.collected_bodies.unwrap_or(limits::COLLECTED_BODIES));
        RequestLimits {
            header_size: written.header_size.unwrap_or(limits::HEADER_SIZE).0,
            header_count: written.header_count.unwrap_or(limits::HEADER_COUNT),
            uri_size: written.uri_size.unwrap_or(limits::URI_SIZE).0,
            handshake_timeout: time(written.handshake_timeout, limits::HANDSHAKE_TIMEOUT),
            header_timeout: time(written.header_timeout, limits::HEADER_TIMEOUT),
            idle_timeout: time(written.idle_timeout, limits::IDLE_TIMEOUT),
            body_timeout: time(written.body_timeout, limits::BODY_TIMEOUT),
            body_rate: Some(written.body_rate.unwrap_or(limits::BODY_RATE).0).filter(|&it| it > 0),
            send_timeout: time(written.send_timeout, limits::SEND_TIMEOUT),
            connections: written.connections,
            connections_per_client: written.connections_per_client,
            requests_per_connection: written
                .requests_per_connection
                .unwrap_or(limits::REQUESTS_PER_CONNECTION),
            requests: written.requests,
            requests_per_client: written.requests_per_client,
            collected_bodies,
            collected_bodies_per_client: written
                .collected_bodies_per_client
                .map_or(collected_bodies / 2, size),
            memory: written.memory.map(|size| size.0),
            concurrent_streams: written
                .http2
                .concurrent_streams
                .unwrap_or(http2_limits::CONCURRENT_STREAMS),
            pending_resets: written.http2.pending_resets.unwrap_or(http2_limits::PENDING_RESETS),
            error_resets: written.http2.error_resets.unwrap_or(http2_limits::ERROR_RESETS),
        }
    }
}
