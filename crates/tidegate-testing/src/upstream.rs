//! An upstream that records its requests and answers as a test says. It does not know the gateway.

use super::websocket::{Socket, switch};
use super::wire::{Head, Wire};
use super::within;
use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

/// A service behind the gateway: records each request and answers as the test says.
pub struct Upstream {
    address: SocketAddr,
    requests: watch::Receiver<Vec<Request>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// A recorded request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The request line and headers.
    pub head: Head,
    /// The whole body, without its framing.
    pub body: Vec<u8>,
    /// The number of its connection, from 1.
    pub connection: usize,
}

/// Records the requests of a connection.
pub struct Recorder {
    requests: watch::Sender<Vec<Request>>,
    connection: usize,
}

impl Recorder {
    /// Records a request before its body.
    pub fn record(&self, head: &Head) {
        self.keep(Request { head: head.clone(), body: Vec::new(), connection: self.connection });
    }

    fn keep(&self, request: Request) {
        self.requests.send_modify(|requests| requests.push(request));
    }
}

impl Upstream {
    /// An upstream whose script handles each connection from its first byte.
    pub async fn scripted<F, Fut>(script: F) -> Self
    where
        F: Fn(Wire, Recorder) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self::on(listener, script).await
    }

    /// The same at this address.
    pub async fn scripted_at<F, Fut>(address: SocketAddr, script: F) -> Self
    where
        F: Fn(Wire, Recorder) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::on(TcpListener::bind(address).await.expect("the address"), script).await
    }

    async fn on<F, Fut>(listener: TcpListener, script: F) -> Self
    where
        F: Fn(Wire, Recorder) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().expect("its address");
        let (sender, requests) = watch::channel(Vec::new());
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut running = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let connection = counter.fetch_add(1, Ordering::SeqCst) + 1;
                let recorder = Recorder { requests: sender.clone(), connection };
                running.spawn(script(Wire::new(stream), recorder));
            }
        });
        Self { address, requests, connections, task }
    }

    /// An upstream that reads each request, answers with these bytes, and keeps the connection.
    pub async fn answering<F>(answer: F) -> Self
    where
        F: Fn(&Request) -> Vec<u8> + Send + Sync + 'static,
    {
        let answer = Arc::new(answer);
        Self::scripted(move |mut wire, recorder| {
            let answer = Arc::clone(&answer);
            async move {
                while let Some(head) = wire.try_head().await {
                    let body = wire.body(&head).await;
                    let connection = recorder.connection;
                    let request = Request { head, body, connection };
                    let bytes = answer(&request);
                    recorder.keep(request);
                    if wire.try_send(bytes).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// An upstream at this address that answers 200 with this body.
    pub async fn saying_at(address: SocketAddr, body: &'static str) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address");
        Self::on(listener, move |mut wire, recorder| async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                if wire.try_send(ok(body)).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// An upstream that answers 200 with this body.
    pub async fn saying(body: &'static str) -> Self {
        Self::answering(move |_| ok(body)).await
    }

    /// An upstream that accepts each handshake and passes the socket to the script; it answers other requests
    /// `200 polled`.
    pub async fn websocket<F, Fut>(script: F) -> Self
    where
        F: Fn(Socket, Head) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let script = Arc::new(script);
        Self::scripted(move |mut wire, recorder| {
            let script = Arc::clone(&script);
            async move {
                while let Some(head) = wire.try_head().await {
                    recorder.record(&head);
                    if head.get("upgrade").is_some() {
                        return script(switch(wire, &head, "").await, head).await;
                    }
                    if wire.try_send(ok("polled")).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// An upstream that echoes text and binary messages.
    pub async fn echo() -> Self {
        Self::websocket(|mut socket, _| async move {
            while let Some(Ok(message)) = socket.next().await {
                let is_data = matches!(message, Message::Text(_) | Message::Binary(_));
                if is_data && socket.send(message).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.borrow().clone()
    }

    /// The request with this number (from 0), received or still to come.
    pub async fn request(&self, number: usize) -> Request {
        let mut requests = self.requests.clone();
        let what = format!("request {number} at the upstream");
        let found = within(&what, requests.wait_for(|all| all.len() > number)).await;
        found.expect("the upstream runs")[number].clone()
    }

    /// The only request so far.
    pub async fn only_request(&self) -> Request {
        let request = self.request(0).await;
        assert_eq!(self.requests().len(), 1, "just one request");
        request
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A whole response.
pub fn respond(status: &str, fields: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for field in fields {
        text.push_str(field);
        text.push_str("\r\n");
    }
    (text + "\r\n" + body).into_bytes()
}

/// `200 OK` with this body.
pub fn ok(body: &str) -> Vec<u8> {
    respond("200 OK", &[], body)
}
