//! A DNS server whose answers a test controls, and the records that it returns. It does not know the gateway.

use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

type Records = BTreeMap<String, Vec<RData>>;

/// A DNS server whose answers a test sets, with a TTL of one second.
pub struct Dns {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    questions: Questions,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Clone, Default)]
struct Zone {
    /// `None` while the server does not answer.
    records: Option<Records>,
    /// The record types that it never answers.
    silent: Vec<RecordType>,
    /// The names that it answers with SERVFAIL.
    failing: Vec<String>,
    /// Records of other names, added to each answer with addresses.
    strays: Vec<Record>,
    /// Whether UDP answers are truncated, so that only TCP has them.
    truncates: bool,
}

/// The name and the type of record of each question.
type Questions = Arc<Mutex<Vec<(String, RecordType)>>>;

impl Dns {
    /// Starts a server without records, over UDP and TCP, on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
            let address = udp.local_addr().expect("its address");
            if let Ok(tcp) = TcpListener::bind(address).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("its address");
        let zone = Zone { records: Some(Records::new()), ..Zone::default() };
        let zone = Arc::new(Mutex::new(zone));
        let questions = Questions::default();
        let asked = Arc::clone(&questions);
        let known = Arc::clone(&zone);
        let by_udp = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, client)) = udp.recv_from(&mut buffer).await {
                let zone = known.lock().expect("the zone").clone();
                note(&buffer[..length], &asked);
                if let Some(answer) = zone.answer(&buffer[..length], zone.truncates) {
                    let _ = udp.send_to(&answer, client).await;
                }
            }
        });
        let (known, asked) = (Arc::clone(&zone), Arc::clone(&questions));
        let by_tcp = tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let (known, asked) = (Arc::clone(&known), Arc::clone(&asked));
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut question = vec![0; length.into()];
                        stream.read_exact(&mut question).await?;
                        let zone = known.lock().expect("the zone").clone();
                        note(&question, &asked);
                        let Some(answer) = zone.answer(&question, false) else { break };
                        stream.write_u16(u16::try_from(answer.len()).expect("short")).await?;
                        stream.write_all(&answer).await?;
                    }
                    std::io::Result::Ok(())
                });
            }
        });
        Self { address, zone, questions, tasks: [by_udp, by_tcp] }
    }

    /// The address that it answers on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The queries so far: names in lower case, and record types.
    pub fn queries(&self) -> Vec<(String, RecordType)> {
        self.questions.lock().expect("the questions").clone()
    }

    /// Sets the addresses of a name.
    pub fn set_addresses(&self, name: &str, addresses: &[Ipv4Addr]) {
        self.set(name, addresses.iter().map(|&address| RData::A(A(address))).collect());
    }

    /// Sets the addresses of a name, of both families.
    pub fn set_ips(&self, name: &str, addresses: &[IpAddr]) {
        let record = |&address: &IpAddr| match address {
            IpAddr::V4(address) => RData::A(A(address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(address)),
        };
        self.set(name, addresses.iter().map(record).collect());
    }

    /// Sets the services of a name: priority, weight, port, target.
    pub fn set_services(&self, name: &str, services: &[(u16, u16, u16, &str)]) {
        let service = |&(priority, weight, port, target): &(u16, u16, u16, &str)| {
            let target = Name::from_ascii(target).expect("a name");
            RData::SRV(SRV::new(priority, weight, port, target))
        };
        self.set(name, services.iter().map(service).collect());
    }

    /// Makes the name an alias of `to`.
    pub fn set_alias(&self, name: &str, to: &str) {
        self.set(name, vec![RData::CNAME(CNAME(Name::from_ascii(to).expect("a name")))]);
    }

    fn set(&self, name: &str, data: Vec<RData>) {
        let mut zone = self.zone();
        zone.records.get_or_insert_default().insert(format!("{name}."), data);
    }

    /// Adds a record of another name to each answer with addresses.
    pub fn add_stray(&self, name: &str, address: Ipv4Addr) {
        let name = Name::from_ascii(name).expect("a name");
        self.zone().strays.push(Record::from_rdata(name, 1, RData::A(A(address))));
    }

    /// Stops answering.
    pub fn stop_answering(&self) {
        self.zone().records = None;
    }

    /// Stops answering queries for this record type.
    pub fn ignore(&self, kind: RecordType) {
        self.zone().silent.push(kind);
    }

    /// Answers SERVFAIL for this name.
    pub fn fail(&self, name: &str) {
        self.zone().failing.push(format!("{name}."));
    }

    /// Truncates every UDP answer.
    pub fn truncate(&self) {
        self.zone().truncates = true;
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().expect("the zone")
    }
}

fn note(question: &[u8], asked: &Questions) {
    let Ok(question) = Message::from_vec(question) else { return };
    let named = |query: &Query| (query.name().to_ascii().to_lowercase(), query.query_type());
    asked.lock().expect("the questions").extend(question.queries.iter().map(named));
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Zone {
    fn answer(&self, question: &[u8], truncates: bool) -> Option<Vec<u8>> {
        let question = Message::from_vec(question).ok()?;
        let known = self.records.as_ref()?;
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.add_queries(question.queries.iter().cloned());
        answer.metadata.truncation = truncates;
        for query in &question.queries {
            let name = query.name().to_ascii().to_lowercase();
            if self.silent.contains(&query.query_type()) {
                return None;
            }
            if self.failing.contains(&name) {
                answer.metadata.response_code = ResponseCode::ServFail;
                continue;
            }
            let Some(data) = known.get(&name) else {
                answer.metadata.response_code = ResponseCode::NXDomain;
                continue;
            };
            let fits = |data: &&RData| {
                data.record_type() == query.query_type() || data.record_type() == RecordType::CNAME
            };
            for data in data.iter().filter(fits).filter(|_| !truncates) {
                answer.add_answer(Record::from_rdata(query.name().clone(), 1, data.clone()));
            }
        }
        if answer.answers.iter().any(|record| record.record_type() == RecordType::A) {
            answer.add_answers(self.strays.iter().cloned());
        }
        Some(answer.to_vec().expect("an answer"))
    }
}
