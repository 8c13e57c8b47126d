//! What is certain when another node refuses, hangs, breaks or babbles.

use engine::{Rejection, SlotSet, SystemChance, SystemClock, UserId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::config::Secret;

/// Long enough for whatever answers, however busy the machine is.
const LONG: Duration = Duration::from_secs(60);

fn secret() -> SigningSecrets {
    Secret::new(vec![7; 32]).unwrap().into()
}

fn peers() -> HttpPeers {
    HttpPeers::new(&secret(), Arc::new(SystemClock), Arc::new(SystemChance)).unwrap()
}

fn cancel() -> Command {
    let (date, start) = ("2026-11-24".parse().unwrap(), engine::SlotStart::parse("10:00").unwrap());
    Command::Cancel { user: UserId::parse("ada@x.com").unwrap(), date, start }
}

async fn ask(peers: &HttpPeers, address: &str, within: Duration) -> Result<Answer, EngineError> {
    peers.ask(address, &DoctorId::parse("dr@x.com").unwrap(), &cancel(), within).await
}

async fn view(peers: &HttpPeers, address: &str, within: Duration) -> Result<DayView, EngineError> {
    peers.view(address, &DoctorId::parse("dr@x.com").unwrap(), "2026-11-24".parse().unwrap(), within).await
}

/// What a node does with one call.
#[derive(Debug, Clone)]
enum Does {
    /// Reads it and says nothing.
    Hang,
    /// Reads it and closes the connection.
    HangUp,
    /// Says this, as it is, and closes the connection.
    Say(String),
    /// Seals this and says it.
    Answer(Vec<u8>),
    /// The same, and then closes the connection.
    AnswerAndClose(Vec<u8>),
    /// Refuses a call that has a nonce.
    RefuseNonce,
    /// Seals this and says it, to a call that has no nonce.
    AnswerWithoutNonce(Vec<u8>),
    /// Seals this for another call.
    AnswerAnother(Vec<u8>),
}

/// A node that does with its calls as told, one after another; each end of a connection is reported.
async fn node(does: Vec<Does>) -> (String, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (closed, closings) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut does = does.into_iter();
        while does.len() > 0 {
            let (mut stream, _) = listener.accept().await.unwrap();
            while let Some((seal, nonce)) = call(&mut stream).await {
                let does = does.next().unwrap();
                match does {
                    Does::RefuseNonce => assert!(nonce.is_some()),
                    Does::AnswerWithoutNonce(_) => assert_eq!(nonce, None),
                    _ => {}
                }
                if !answer(&mut stream, &seal, does).await {
                    break;
                }
            }
            drop(stream);
            let _ = closed.send(());
        }
    });
    (address, closings)
}

/// Reads a call; gives its seal, and its nonce if it has one.
async fn call(stream: &mut TcpStream) -> Option<(String, Option<String>)> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let field = |name: &str| {
                let lines = head.lines().filter_map(|line| line.split_once(": "));
                lines
                    .into_iter()
                    .find(|(n, _)| n.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.to_owned())
            };
            if body.len() == field("content-length").unwrap().parse::<usize>().unwrap() {
                return field(SEAL).map(|seal| (seal, field(NONCE)));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Whether the connection stays open.
async fn answer(stream: &mut TcpStream, seal: &str, does: Does) -> bool {
    let seals = Seals::new(&secret());
    let (text, open) = match does {
        Does::Hang => {
            // Until the other side gives up.
            let _ = stream.read(&mut [0]).await;
            return false;
        }
        Does::HangUp => return false,
        Does::Say(text) => (text, false),
        Does::RefuseNonce => ("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_owned(), false),
        Does::Answer(body) | Does::AnswerWithoutNonce(body) => {
            (sealed(&seals.seal_answer(seal, &body), &body), true)
        }
        Does::AnswerAndClose(body) => (sealed(&seals.seal_answer(seal, &body), &body), false),
        Does::AnswerAnother(body) => (sealed(&seals.seal_answer("another", &body), &body), true),
    };
    stream.write_all(text.as_bytes()).await.unwrap();
    open
}

fn sealed(seal: &str, body: &[u8]) -> String {
    let body = std::str::from_utf8(body).unwrap();
    format!("HTTP/1.1 200 OK\r\n{SEAL}: {seal}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn cancelled() -> Vec<u8> {
    wire::write_answer(&Ok(Answer::Cancelled))
}

#[tokio::test]
async fn where_no_connection_is_made_nothing_happened() {
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = refusing.local_addr().unwrap().to_string();
    drop(refusing);
    for address in [address.as_str(), "nobody.invalid:7000", "not an address"] {
        assert_eq!(ask(&peers(), address, LONG).await, Err(EngineError::NotHere), "{address}");
        assert_eq!(view(&peers(), address, LONG).await, Err(EngineError::NotHere), "{address}");
    }
}

#[tokio::test]
async fn where_a_connection_takes_too_long_nothing_happened() {
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    assert_eq!(ask(&peers(), &address.to_string(), LONG).await, Err(EngineError::NotHere));
}

#[tokio::test]
async fn what_may_have_been_read_may_have_happened() {
    let whole = String::from_utf8(cancelled()).unwrap();
    let unsealed = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{whole}", whole.len());
    let long = "x".repeat(BODY_BYTES_MAX + 1);
    for does in [
        Does::HangUp,
        Does::Hang,
        Does::Say("HTTP/1.1 2".to_owned()),
        Does::Say("HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n{".to_owned()),
        Does::Say("SSH-2.0-OpenSSH\r\n".to_owned()),
        Does::Say(unsealed),
        Does::Say("HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n".to_owned()),
        Does::Say(
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_owned(),
        ),
        Does::Answer(long.into_bytes()),
        Does::Answer(b"{}".to_vec()),
        Does::Answer(wire::write_answer(&Ok(Answer::ScheduleSet))),
        Does::AnswerAnother(cancelled()),
    ] {
        // The one that hangs is waited for as long as is said, the others answer long before.
        let within = if matches!(does, Does::Hang) { Duration::from_millis(100) } else { LONG };
        let (address, _) = node(vec![does.clone(), does.clone()]).await;
        assert_eq!(ask(&peers(), &address, within).await, Err(EngineError::OutcomeUnknown), "{does:?}");
        let (address, _) = node(vec![does.clone()]).await;
        assert_eq!(view(&peers(), &address, within).await, Err(EngineError::Unavailable), "{does:?}");
    }
}

#[tokio::test]
async fn what_a_node_says_of_itself_is_believed() {
    let refused = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_owned();
    let (address, _) = node(vec![Does::Say(refused.clone()), Does::Say(refused)]).await;
    assert_eq!(ask(&peers(), &address, LONG).await, Err(EngineError::NotHere));
    for error in [
        EngineError::NotHere,
        EngineError::Busy,
        EngineError::OutcomeUnknown,
        EngineError::Rejected(Rejection::BookingNotFound),
    ] {
        let told = vec![
            Does::Answer(wire::write_answer(&Err(error.clone()))),
            Does::Answer(wire::write_view(&Err(error.clone()))),
        ];
        let ((address, _), peers) = (node(told).await, peers());
        assert_eq!(ask(&peers, &address, LONG).await, Err(error.clone()));
        assert_eq!(view(&peers, &address, LONG).await, Err(error));
    }
    let day = Ok(DayView::new(SlotSet::EMPTY));
    let (address, _) = node(vec![Does::Answer(wire::write_view(&day))]).await;
    assert_eq!(view(&peers(), &address, LONG).await, day);
}

#[tokio::test]
async fn node_of_an_older_version_is_called_without_a_nonce() {
    let (address, _) = node(vec![Does::RefuseNonce, Does::AnswerWithoutNonce(cancelled())]).await;
    assert_eq!(ask(&peers(), &address, LONG).await, Ok(Answer::Cancelled));
    // No room to remember the call: nothing happened, and there is no second attempt.
    let full = "HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n".to_owned();
    let (address, _) = node(vec![Does::Say(full)]).await;
    assert_eq!(ask(&peers(), &address, LONG).await, Err(EngineError::Busy));
}

#[tokio::test]
async fn a_connection_that_was_closed_while_nobody_used_it_costs_nothing() {
    let does = vec![
        Does::Answer(cancelled()),
        Does::AnswerAndClose(cancelled()),
        Does::AnswerAndClose(cancelled()),
        Does::Answer(cancelled()),
    ];
    let ((address, mut closings), peers) = (node(does).await, peers());
    // The first two on one connection.
    assert_eq!(ask(&peers, &address, LONG).await, Ok(Answer::Cancelled));
    for _ in 0..2 {
        assert_eq!(ask(&peers, &address, LONG).await, Ok(Answer::Cancelled));
        closings.recv().await.unwrap();
    }
    assert_eq!(ask(&peers, &address, LONG).await, Ok(Answer::Cancelled));
    assert!(closings.try_recv().is_err());
}

#[tokio::test]
async fn one_node_that_hangs_costs_the_others_nothing() {
    let peers = peers();
    let (hanging, _) = node(vec![Does::Hang]).await;
    let (answering, _) = node(vec![Does::Answer(cancelled())]).await;
    let places = peers.places(&hanging);
    let taken = places.try_acquire_many(u32::try_from(CALLS_AT_ONCE).unwrap()).unwrap();
    let soon = Duration::from_millis(50);
    assert_eq!(ask(&peers, &hanging, soon).await, Err(EngineError::Busy), "it was not even sent");
    assert_eq!(ask(&peers, &answering, LONG).await, Ok(Answer::Cancelled));
    drop(taken);
    assert_eq!(ask(&peers, &hanging, soon).await, Err(EngineError::OutcomeUnknown));
}
