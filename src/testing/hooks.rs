//! Calls the hooks of filters in the gateway's order, and stops where a filter answers or fails. Knows nothing of how a
//! test describes its request.

use super::run::FilterRun;
use crate::exchange::{Outcome, WebSocketEnd};
use crate::filter::{
    self, BodyAccess, BodyPart, BodyParts, Filter, Flow, Reply, Request, Response, ShownPart,
    UpstreamRequest, show_request, show_response,
};
use crate::websocket::Initiator;
use bytes::Bytes;
use http::{Method, StatusCode};
use pingora::http::RequestHeader;
use std::time::Duration;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::websocket::frame::FrameCounts;

impl FilterRun {
    /// Calls all hooks; `body` is that of the request, `upstream_body` that of the upstream's response.
    pub(super) async fn call_hooks(
        &mut self,
        filters: &[&dyn Filter],
        body: Vec<Bytes>,
        upstream_body: Vec<Bytes>,
    ) {
        let is_answered = match self.forward(filters, body).await {
            Ok(None) => false,
            Ok(Some(reply)) => self.answer(reply),
            Err(error) => self.fail(error),
        };
        match self.on_response(filters).await {
            Ok(()) if is_answered => {}
            Ok(()) => self.on_response_body(filters, upstream_body),
            Err(error) => {
                self.fail(error);
            }
        }
        self.report(filters);
    }

    /// Runs the hooks of the request. Returns the answer of a filter, if one answers.
    async fn forward(
        &mut self,
        filters: &[&dyn Filter],
        mut body: Vec<Bytes>,
    ) -> Result<Option<Reply>, filter::Error> {
        for filter in filters {
            let mut request = Request { head: &mut self.request, exchange: &mut self.exchange };
            if let Flow::Respond(reply) = filter.on_request(&mut request).await? {
                return Ok(Some(reply));
            }
        }
        let max = smallest_bound(filters.iter().map(|filter| filter.request_body()));
        if let Some(max) = max {
            body = vec![body.concat().into()];
            if body.iter().any(|whole| whole.len() > max) {
                let message = format!(
                    "the request body may have at most {max} bytes here, because a filter reads \
                     the whole body"
                );
                return Ok(Some(Reply::gateway_error(ErrorCode::BodyTooLarge, message)));
            }
            if let Some(reply) = self.on_request_body(filters, &mut body).await? {
                return Ok(Some(reply));
            }
        }
        let forwarded = self.on_forward(filters)?;
        if max.is_none()
            && !self.exchange.is_websocket
            && let Some(reply) = self.on_request_body(filters, &mut body).await?
        {
            return Ok(Some(reply));
        }
        self.forwarded = Some(forwarded);
        self.forwarded_body = body.concat().into();
        Ok(None)
    }

    async fn on_request_body(
        &mut self,
        filters: &[&dyn Filter],
        body: &mut [Bytes],
    ) -> Result<Option<Reply>, filter::Error> {
        let (mut offset, count) = (0, body.len());
        for (index, bytes) in body.iter_mut().enumerate() {
            let length = bytes.len() as u64;
            for filter in filters {
                let access = filter.request_body();
                if access == BodyAccess::None {
                    continue;
                }
                let part = BodyPart { bytes, offset, is_end: index + 1 == count };
                let (head, exchange) = (&self.request, &mut self.exchange);
                let reply = show_request(*filter, access, part, head, exchange).await?;
                if reply.is_some() {
                    return Ok(reply);
                }
            }
            offset += length;
        }
        Ok(None)
    }

    fn on_forward(&mut self, filters: &[&dyn Filter]) -> Result<RequestHeader, filter::Error> {
        let mut head = self.request.clone();
        if self.exchange.path.is_some() || self.exchange.forwarded.is_some() {
            let path = self.exchange.forwarded_path(&self.request);
            let target = match self.request.uri.query() {
                Some(query) => format!("{path}?{query}"),
                None => path.to_owned(),
            };
            head.set_raw_path(target.as_bytes())?;
        }
        for filter in filters {
            let (client, exchange) = (&self.request, &mut self.exchange);
            filter.on_forward(&mut UpstreamRequest { head: &mut head, client, exchange })?;
        }
        Ok(head)
    }

    async fn on_response(&mut self, filters: &[&dyn Filter]) -> Result<(), filter::Error> {
        for filter in filters.iter().rev() {
            let Self { response: head, request, exchange, .. } = self;
            filter.on_response(&mut Response { head, request, exchange }).await?;
        }
        Ok(())
    }

    fn on_response_body(&mut self, filters: &[&dyn Filter], mut body: Vec<Bytes>) {
        let is_bodiless =
            matches!(self.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if self.exchange.is_websocket || is_bodiless || self.request.method == Method::HEAD {
            return;
        }
        let max = smallest_bound(filters.iter().map(|filter| filter.response_body()));
        let mut parts = BodyParts::new(max);
        let mut sent: Vec<Bytes> = Vec::new();
        // The gateway shows no empty part but the last.
        body.retain(|part| !part.is_empty());
        let count = body.len();
        for (index, bytes) in body.into_iter().enumerate() {
            let shown = match parts.push(bytes, index + 1 == count) {
                Ok(Some(shown)) => shown,
                Ok(None) => continue,
                Err(too_large) => {
                    self.answer(too_large.reply());
                    return;
                }
            };
            let ShownPart { mut bytes, offset, is_end } = shown;
            for filter in filters.iter().rev() {
                let access = filter.response_body();
                if access == BodyAccess::None {
                    continue;
                }
                let (status, exchange) = (self.response.status, &mut self.exchange);
                let part = BodyPart { bytes: &mut bytes, offset, is_end };
                if let Err(error) = show_response(*filter, access, part, status, exchange) {
                    self.error = Some(error);
                    self.body = Bytes::from(sent.concat());
                    return;
                }
            }
            sent.push(bytes);
        }
        self.body = Bytes::from(sent.concat());
    }

    fn report(&self, filters: &[&dyn Filter]) {
        let is_session = self.exchange.is_websocket && self.status() == 101;
        let end = WebSocketEnd {
            initiator: Initiator::Client,
            code: Some(1000),
            reason: "",
            handshake: Duration::ZERO,
            client_to_upstream: FrameCounts::default(),
            upstream_to_client: FrameCounts::default(),
        };
        let error = self.error.as_ref().map(ToString::to_string);
        let mut outcome = Outcome {
            request: &self.request,
            response: Some(&self.response),
            exchange: &self.exchange,
            status: self.status().as_u16(),
            duration: Duration::ZERO,
            upstream: None,
            upstream_address: None,
            bytes_received: self.forwarded_body.len() as u64,
            bytes_sent: self.body.len() as u64,
            cache: None,
            is_background: false,
            websocket: None,
            error: error.as_deref(),
        };
        if is_session {
            filters.iter().for_each(|filter| filter.on_open(&outcome));
            outcome.websocket = Some(end);
        }
        filters.iter().rev().for_each(|filter| filter.on_end(&outcome));
    }
}

/// The most bytes of a body, where one of the filters wants it whole.
fn smallest_bound(wanted: impl Iterator<Item = BodyAccess>) -> Option<usize> {
    let max = |access| match access {
        BodyAccess::Whole { max } => Some(max),
        _ => None,
    };
    wanted.filter_map(max).min()
}
