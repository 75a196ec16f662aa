//! One request over HTTP/2, for upstreams that speak nothing else. It does not know who causes a fault.

use super::fault::Fault;
use super::head::Head;
use super::http1::MAX_ERROR_BODY_BYTES;
use super::plan::ProbePlan;
use super::stream::Duplex;
use http::header;
use std::time::Instant;
use tokio::time::timeout_at;

/// A response whose body is still to come.
pub(crate) struct PendingResponse {
    /// Its head.
    pub head: Head,
    body: h2::RecvStream,
    /// Drives the connection; aborted on drop.
    connection: tokio::task::JoinHandle<()>,
}

impl Drop for PendingResponse {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Requests the plan's path.
pub(crate) async fn get(
    stream: Box<dyn Duplex>,
    plan: &ProbePlan,
    deadline: Instant,
) -> Result<PendingResponse, Fault> {
    match timeout_at(deadline.into(), exchange(stream, plan)).await {
        Err(_) => Err(Fault::NoAnswer),
        Ok(Ok(pending)) => Ok(pending),
        Ok(Err(error)) if error.is_io() => Err(Fault::ClosedBeforeAnswer),
        Ok(Err(error)) => Err(Fault::NotHttp(format!("no HTTP/2: {error}"))),
    }
}

async fn exchange(stream: Box<dyn Duplex>, plan: &ProbePlan) -> Result<PendingResponse, h2::Error> {
    let (mut sender, connection) = h2::client::handshake(stream).await?;
    let connection = tokio::spawn(async move {
        let _ = connection.await;
    });
    let scheme = if plan.trust.is_some() { "https" } else { "http" };
    let mut request = http::Request::builder()
        .uri(format!("{scheme}://{}{}", plan.authority, plan.path_and_query))
        .header(header::USER_AGENT, concat!("tidegate-doctor/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*");
    if let Some(origin) = &plan.origin {
        request = request.header(header::ORIGIN, origin);
    }
    for (name, value) in &plan.headers {
        request = request.header(name, value);
    }
    // The command line validates all parts; an invalid one falls back to a request without headers.
    let request = request.body(()).unwrap_or_else(|_| http::Request::new(()));
    let (response, _) = sender.send_request(request, true)?;
    let (head, body) = response.await?.into_parts();
    Ok(PendingResponse { head: Head::from_http2(&head), body, connection })
}

impl PendingResponse {
    /// The body, as far as it arrives in time; `None` if nothing arrives.
    pub(crate) async fn body(
        &mut self,
        deadline: Instant,
        is_first_enough: bool,
    ) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            match timeout_at(deadline.into(), self.body.data()).await {
                Err(_) if body.is_empty() => return None,
                Err(_) | Ok(None | Some(Err(_))) => return Some(body),
                Ok(Some(Ok(piece))) => {
                    let _ = self.body.flow_control().release_capacity(piece.len());
                    body.extend_from_slice(&piece);
                    if is_first_enough || body.len() >= MAX_ERROR_BODY_BYTES {
                        return Some(body);
                    }
                }
            }
        }
    }
}
