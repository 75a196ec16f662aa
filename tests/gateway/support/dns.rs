use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

type Records = BTreeMap<String, Vec<RData>>;

/// A server of DNS that says what a test wants, good for a second.
pub struct Dns {
    address: SocketAddr,
    records: Arc<Mutex<Option<Records>>>,
    task: JoinHandle<()>,
}

impl Dns {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("its address");
        let records = Arc::new(Mutex::new(Some(Records::new())));
        let known = Arc::clone(&records);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
                let known = known.lock().expect("the records").clone();
                // Silent, as a server that is gone.
                let Some(known) = known else { continue };
                let answer = answer(&question, &known).to_vec().expect("an answer");
                let _ = socket.send_to(&answer, client).await;
            }
        });
        Self { address, records, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The addresses of a name, from now on.
    pub fn set_addresses(&self, name: &str, addresses: &[Ipv4Addr]) {
        self.set(name, addresses.iter().map(|&address| RData::A(A(address))).collect());
    }

    /// The same, of both families.
    pub fn set_ips(&self, name: &str, addresses: &[IpAddr]) {
        let record = |&address: &IpAddr| match address {
            IpAddr::V4(address) => RData::A(A(address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(address)),
        };
        self.set(name, addresses.iter().map(record).collect());
    }

    /// The services of a name: priority, weight, port, target.
    pub fn set_services(&self, name: &str, services: &[(u16, u16, u16, &str)]) {
        let service = |&(priority, weight, port, target): &(u16, u16, u16, &str)| {
            let target = Name::from_ascii(target).expect("a name");
            RData::SRV(SRV::new(priority, weight, port, target))
        };
        self.set(name, services.iter().map(service).collect());
    }

    fn set(&self, name: &str, data: Vec<RData>) {
        let mut records = self.records.lock().expect("the records");
        records.get_or_insert_default().insert(format!("{name}."), data);
    }

    /// Says nothing any more.
    pub fn fall_silent(&self) {
        *self.records.lock().expect("the records") = None;
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(question: &Message, known: &Records) -> Message {
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.add_queries(question.queries.iter().cloned());
    for query in &question.queries {
        match known.get(&query.name().to_ascii().to_lowercase()) {
            None => answer.metadata.response_code = ResponseCode::NXDomain,
            Some(data) => {
                let fitting = data.iter().filter(|data| data.record_type() == query.query_type());
                for data in fitting {
                    answer.add_answer(Record::from_rdata(query.name().clone(), 1, data.clone()));
                }
            }
        }
    }
    answer
}
