//! Who is let in, and what they get.

use chrono::{DateTime, TimeDelta, Utc};
use engine::shard::Ring;
use engine::{
    Answer, Clinic, Command, DoctorId, Engine, EngineError, ManualClock, Membership, MemoryStore, Parts,
    Peers, Placement, Rejection, Rules, SeededChance, SlotStart, UserId,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::HttpPeers;
use super::*;
use crate::config::Secret;

const LONG: Duration = Duration::from_secs(60);

/// A node that is alone behind its door, with one doctor who offers every slot of a Tuesday.
struct Fixture {
    address: String,
    store: MemoryStore,
    clock: Arc<ManualClock>,
    engine: Engine,
    server: NodeServer,
}

fn secret(byte: u8) -> SigningSecrets {
    Secret::new(vec![byte; 32]).unwrap().into()
}

fn clock() -> Arc<ManualClock> {
    let now: DateTime<Utc> = "2026-11-23T04:30:00Z".parse().unwrap();
    Arc::new(ManualClock::new(now))
}

fn doctor() -> DoctorId {
    DoctorId::parse("dr@x.com").unwrap()
}

fn book(user: &str) -> Command {
    let (date, start) = ("2026-11-24".parse().unwrap(), SlotStart::parse("10:00").unwrap());
    Command::Book { user: UserId::parse(user).unwrap(), date, start, key: None }
}

fn peers(byte: u8, clock: &Arc<ManualClock>) -> HttpPeers {
    HttpPeers::new(&secret(byte), clock.clone(), Arc::new(SeededChance::new(7))).unwrap()
}

impl Fixture {
    async fn start() -> Self {
        Self::start_with(ServerConfig::default()).await
    }

    async fn start_with(config: ServerConfig) -> Self {
        let (store, clock, chance) = (MemoryStore::new(), clock(), Arc::new(SeededChance::new(1)));
        store.add_doctor(doctor());
        let engine = Engine::start(Parts {
            store: Arc::new(store.clone()),
            fences: Arc::new(store.clone()),
            clock: clock.clone(),
            chance: chance.clone(),
            clinic: Clinic::compiled_in("Asia/Kolkata").unwrap(),
            rules: Rules::default(),
            ring: Ring::default(),
            membership: Membership::Solo,
            placement: Placement::here(),
        });
        let engine = engine.await.unwrap();
        let offered = SlotStart::all().collect();
        let offer = Command::SetSlots { weekday: chrono::Weekday::Tue, offered };
        engine.router().ask(&doctor(), offer).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let door = Door::new(&secret(7), address.clone(), engine.router(), clock.clone());
        let config = ServerConfig { workers: 1, ..config };
        let server = NodeServer::start(listener, door, chance, &config).unwrap();
        Self { address, store, clock, engine, server }
    }

    async fn ask(&self, peers: &HttpPeers, user: &str) -> Result<Answer, EngineError> {
        peers.ask(&self.address, &doctor(), &book(user), LONG).await
    }

    /// Sends what it is given, and gives the answer's first line.
    async fn says(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.contains(&b'\n') {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "closed without a word");
        }
        String::from_utf8_lossy(&answer).lines().next().unwrap().to_owned()
    }

    async fn stop(self) {
        self.server.stop().await;
        self.engine.stop().await;
    }
}

#[actix_web::test]
async fn a_node_that_knows_the_secret_is_answered_as_one_asks_oneself() {
    let node = Fixture::start().await;
    let peers = peers(7, &node.clock);
    assert!(matches!(node.ask(&peers, "ada@x.com").await, Ok(Answer::Booked(_))));
    assert_eq!(node.ask(&peers, "ada@x.com").await, Err(Rejection::AlreadyBooked.into()));
    let date = "2026-11-24".parse().unwrap();
    let seen = peers.view(&node.address, &doctor(), date, LONG).await.unwrap();
    assert_eq!(seen, node.engine.router().view(&doctor(), date).await.unwrap());
    assert_eq!(seen.booked(SlotStart::parse("10:00").unwrap()), 1);
    let nobody = peers.view(&node.address, &DoctorId::parse("no@x.com").unwrap(), date, LONG).await;
    assert_eq!(nobody, Err(Rejection::DoctorNotFound.into()));
    node.stop().await;
}

#[actix_web::test]
async fn whoever_does_not_know_the_secret_or_the_time_changes_nothing() {
    let node = Fixture::start().await;
    assert_eq!(node.ask(&peers(8, &node.clock), "ada@x.com").await, Err(EngineError::NotHere));
    for off in [-61, 61] {
        let clock = clock();
        clock.advance(TimeDelta::seconds(off));
        assert_eq!(node.ask(&peers(7, &clock), "ada@x.com").await, Err(EngineError::NotHere), "{off}");
    }
    assert!(node.store.bookings().is_empty());
    assert!(matches!(node.ask(&peers(7, &node.clock), "ada@x.com").await, Ok(Answer::Booked(_))));
    node.stop().await;
}

#[actix_web::test]
async fn what_was_sealed_is_what_counts() {
    let node = Fixture::start().await;
    let body = wire::write_ask(&doctor(), &book("ada@x.com"));
    let (seals, at) = (Seals::new(&secret(7)), node.clock.now().timestamp());
    let request_id = "6f1ed002ab5595859014ebf0951522d9".to_owned();
    let envelope =
        Envelope { path: ASK, to: node.address.clone(), at, within_ms: 9_000, request_id, nonce: None };
    let send = async |path: &str, at: i64, seal: &str, body: &[u8]| {
        let request =
            crate::http_client::outgoing().build().unwrap().post(format!("http://{}{path}", node.address));
        let request = request.header(AT, at).header(WITHIN, 9_000).header(SEAL, seal);
        let request = request.header("x-request-id", &envelope.request_id).body(body.to_vec());
        let answer = request.send().await.unwrap();
        assert_eq!(
            answer.headers()["x-request-id"],
            *envelope.request_id,
            "both nodes' logs name the request"
        );
        answer.status().as_u16()
    };
    let seal = seals.seal(&envelope, &body);
    let other = wire::write_ask(&doctor(), &book("eve@x.com"));
    let elsewhere = seals.seal(&Envelope { to: "10.0.0.9:7000".to_owned(), ..envelope.clone() }, &body);
    assert_eq!(send(ASK, at, &seal, &other).await, 401);
    assert_eq!(send(ASK, at + 1, &seal, &body).await, 401);
    assert_eq!(send(VIEW, at, &seal, &body).await, 401);
    assert_eq!(send(ASK, at, &elsewhere, &body).await, 401, "meant for another node");
    assert_eq!(send("/node/other", at, &seal, &body).await, 404);
    let nonsense = seals.seal(&envelope, b"nonsense");
    assert_eq!(send(ASK, at, &nonsense, b"nonsense").await, 422);
    assert!(node.store.bookings().is_empty());
    assert_eq!(send(ASK, at, &seal, &body).await, 200);
    assert_eq!(node.store.bookings().len(), 1);
    node.stop().await;
}

#[actix_web::test]
async fn a_call_is_refused_by_its_head_before_its_body_comes() {
    let node = Fixture::start().await;
    let head =
        |fields: &str| format!("POST /node/ask HTTP/1.1\r\nhost: x\r\ncontent-length: {fields}\r\n\r\n");
    let now = node.clock.now().timestamp();
    for (fields, status) in [
        ("9".to_owned(), "401"),
        (format!("9\r\n{AT}: {now}\r\n{WITHIN}: 9"), "401"),
        (format!("9\r\n{AT}: {}\r\n{WITHIN}: 9\r\n{SEAL}: 00", now - 61), "401"),
        (format!("9\r\n{AT}: {now}\r\n{WITHIN}: -9\r\n{SEAL}: 00"), "401"),
        (format!("{}\r\n{AT}: {now}\r\n{WITHIN}: 9\r\n{SEAL}: 00", BODY_BYTES_MAX + 1), "413"),
    ] {
        let line = node.says(&head(&fields)).await;
        assert!(line.contains(status), "{fields}: {line}");
    }
    node.stop().await;
}

/// A call that was overheard, to be sent again.
struct Overheard {
    envelope: Envelope,
    body: Vec<u8>,
    seal: String,
}

impl Overheard {
    fn of(node: &Fixture, nonce: Option<&str>) -> Self {
        let envelope = Envelope {
            path: ASK,
            to: node.address.clone(),
            at: node.clock.now().timestamp(),
            within_ms: 9_000,
            request_id: "6f1ed002ab5595859014ebf0951522d9".to_owned(),
            nonce: nonce.map(str::to_owned),
        };
        let body = wire::write_ask(&doctor(), &book("ada@x.com"));
        let seal = Seals::new(&secret(7)).seal(&envelope, &body);
        Self { envelope, body, seal }
    }

    async fn send(&self) -> u16 {
        self.send_to(&self.envelope.to).await
    }

    async fn send_to(&self, address: &str) -> u16 {
        let Envelope { path, at, within_ms, request_id, nonce, .. } = &self.envelope;
        let request = crate::http_client::outgoing().build().unwrap().post(format!("http://{address}{path}"));
        let request = request.header(AT, *at).header(WITHIN, *within_ms).header(SEAL, &self.seal);
        let request = nonce.iter().fold(request, |request, nonce| request.header(NONCE, nonce));
        let request = request.header("x-request-id", request_id).body(self.body.clone());
        request.send().await.unwrap().status().as_u16()
    }
}

#[actix_web::test]
async fn overheard_call_is_refused_when_it_comes_again() {
    let node = Fixture::start().await;
    // With a nonce, and as a version before December 2026 calls.
    for nonce in [Some("0b7c2d8f5f3b4e0c9a86d1c2e3f40516"), None] {
        let mut call = Overheard::of(&node, nonce);
        assert_eq!(call.send().await, 200);
        for later in [0, 1, 59, 61] {
            assert_eq!(call.send().await, 401, "{later} s later");
            node.clock.advance(TimeDelta::seconds(later));
        }
        call.seal = call.seal.to_uppercase();
        assert_eq!(call.send().await, 401);
        let with = if nonce.is_some() { None } else { Some("0b7c2d8f5f3b4e0c9a86d1c2e3f40516".to_owned()) };
        call = Overheard::of(&node, nonce);
        call.envelope.nonce = with;
        assert_eq!(call.send().await, 401, "a nonce that was taken off or added");
    }
    node.stop().await;
}

#[actix_web::test]
async fn overheard_call_is_refused_by_the_node_s_next_life() {
    let node = Fixture::start().await;
    let call = Overheard::of(&node, Some("0b7c2d8f5f3b4e0c9a86d1c2e3f40516"));
    node.clock.advance(TimeDelta::seconds(1));
    let door = Door::new(&secret(7), node.address.clone(), node.engine.router(), node.clock.clone());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = ServerConfig { workers: 1, ..ServerConfig::default() };
    let next = NodeServer::start(listener, door, Arc::new(SeededChance::new(2)), &config).unwrap();
    assert_eq!(call.send_to(&address).await, 401);
    assert_eq!(call.send().await, 200, "the same call is good where the node has not restarted");
    next.stop().await;
    node.stop().await;
}

#[actix_web::test]
async fn same_command_can_be_asked_again() {
    let node = Fixture::start().await;
    let peers = peers(7, &node.clock);
    assert!(matches!(node.ask(&peers, "ada@x.com").await, Ok(Answer::Booked(_))));
    // Within the same second, for the same request.
    for _ in 0..3 {
        assert_eq!(node.ask(&peers, "ada@x.com").await, Err(Rejection::AlreadyBooked.into()));
    }
    node.stop().await;
}

/// A connection from 127.0.0.`last` on which a call was refused for want of a seal; `None` if it was closed instead.
async fn connected(node: &Fixture, last: u8) -> Option<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((std::net::Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
    let mut stream = socket.connect(node.address.parse().unwrap()).await.unwrap();
    let _ = stream.write_all(b"POST /node/ask HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let read = tokio::time::timeout(LONG, stream.read_buf(&mut answer)).await.unwrap();
        if read.unwrap_or(0) == 0 {
            return None;
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 401"));
    Some(stream)
}

#[actix_web::test]
async fn connections_of_one_address_leave_room_for_others() {
    let bounds = ServerConfig { connections_max: 40, connections_of_network: 10, ..ServerConfig::default() };
    let node = Fixture::start_with(bounds).await;
    let mut held = Vec::new();
    for _ in 0..60 {
        held.extend(connected(&node, 2).await);
    }
    assert_eq!(held.len(), 20, "one node may make as many as half");
    assert!(matches!(node.ask(&peers(7, &node.clock), "ada@x.com").await, Ok(Answer::Booked(_))));
    // When connections run out, the longest idle one of the largest crowd makes room.
    let mut others = Vec::new();
    for last in 11..=30 {
        others.push(connected(&node, last).await.unwrap());
    }
    assert_eq!(held[0].read(&mut [0]).await.unwrap(), 0);
    assert_eq!(node.ask(&peers(7, &node.clock), "ada@x.com").await, Err(Rejection::AlreadyBooked.into()));
    drop((held, others));
    node.stop().await;
}
