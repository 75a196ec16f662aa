//! The upstream of a case: records every byte that it receives, and answers the requests that a strict reader finds.
//! Judges nothing.

use crate::reader::Reader;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The bytes of one connection.
#[derive(Default, Clone)]
struct Tape {
    bytes: Vec<u8>,
    is_ended: bool,
}

/// A range of a connection's recorded bytes.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    pub bytes: Vec<u8>,
    /// Whether the other side has ended the connection.
    pub is_ended: bool,
}

pub(crate) struct Recorder {
    address: SocketAddr,
    tapes: Arc<Mutex<Vec<Arc<Mutex<Tape>>>>>,
    /// Changes whenever a tape does.
    turned: watch::Receiver<()>,
    task: tokio::task::JoinHandle<()>,
}

/// The lengths of all recordings at one moment.
pub(crate) struct Mark(Vec<usize>);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (sender, turned) = watch::channel(());
        let tapes: Arc<Mutex<Vec<Arc<Mutex<Tape>>>>> = Arc::default();
        let all = Arc::clone(&tapes);
        let task = tokio::spawn(async move {
            let mut running = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let tape = Arc::new(Mutex::new(Tape::default()));
                lock(&all).push(Arc::clone(&tape));
                running.spawn(record(stream, tape, sender.clone()));
            }
        });
        Self { address, tapes, turned, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark(lock(&self.tapes).iter().map(|tape| lock(tape).bytes.len()).collect())
    }

    /// What came since, on each connection where something did.
    pub(crate) fn since(&self, mark: &Mark) -> Vec<Stretch> {
        let tapes = lock(&self.tapes);
        let starts = mark.0.iter().copied().chain(std::iter::repeat(0));
        let stretches = tapes.iter().zip(starts).map(|(tape, start)| {
            let tape = lock(tape);
            Stretch { bytes: tape.bytes[start..].to_vec(), is_ended: tape.is_ended }
        });
        stretches.filter(|stretch| !stretch.bytes.is_empty()).collect()
    }

    /// Waits until each connection rests between two requests or is ended.
    pub(crate) async fn rest(&self, mark: &Mark) -> bool {
        let mut turned = self.turned.clone();
        let rests = turned.wait_for(|()| {
            self.since(mark).iter().all(|stretch| {
                stretch.is_ended || Reader::Strict.read(&stretch.bytes).used == stretch.bytes.len()
            })
        });
        tokio::time::timeout(tidegate_testing::WAIT_TIMEOUT, rests).await.is_ok()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn record(mut stream: TcpStream, tape: Arc<Mutex<Tape>>, turned: watch::Sender<()>) {
    let (mut answered, mut is_early) = (0, false);
    let mut buffer = vec![0; 65_536];
    loop {
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        let (reading, early) = {
            let mut tape = lock(&tape);
            tape.bytes.extend_from_slice(&buffer[..read]);
            let reading = Reader::Strict.read(&tape.bytes[answered..]);
            answered += reading.used;
            let begun = reading.begun.as_ref();
            let early = begun.is_some_and(|request| request.target.starts_with("/early"));
            (reading, early)
        };
        let mut answers = String::new();
        for request in &reading.whole {
            if !std::mem::take(&mut is_early) {
                answers.push_str(&answer(&request.target));
            }
        }
        if early && !is_early {
            is_early = true;
            answers.push_str(&answer("/early"));
        }
        let is_over = read == 0 || reading.broken.is_some();
        if reading.broken.is_some() {
            answers.push_str(
                "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        }
        let is_sent = stream.write_all(answers.as_bytes()).await.is_ok();
        if is_over || !is_sent {
            lock(&tape).is_ended = true;
        }
        turned.send_replace(());
        if is_over || !is_sent {
            return;
        }
    }
}

/// A response that names its request, so that a mix-up is visible.
fn answer(target: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len())
}
