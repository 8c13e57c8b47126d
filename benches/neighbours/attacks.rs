//! Attacks from one address, each bounded in count, and what a caller at another address feels of them.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{ATTACKERS, Caller, VICTIMS, client};

/// Connections that are opened, used once and then left open.
const IDLE: usize = 2_300;
/// Uploads whose bodies never end.
const TRICKLED: usize = 24;
/// Lists of a locker that are asked for at once, again and again.
const LISTS: usize = 42;
/// Log-ins with the right password, all at once.
const LOGINS: usize = 300;
/// Lists of doctors that nobody reads.
const UNREAD: usize = 645;
/// Doctors in those lists, each with long texts.
const DOCTORS: usize = 30;
/// Calls of the victim that are timed.
const CALLS: usize = 200;
/// Log-ins of the victim that are timed. Each costs the server what an attacker's costs.
const LOGIN_CALLS: usize = 10;
/// Longer than any step of an attack takes.
const DEADLINE: Duration = Duration::from_secs(120);
const PASSWORD: &str = "correct horse";

/// How long a victim's calls took without an attack, and during one.
pub(crate) struct Felt {
    pub(crate) attack: String,
    pub(crate) call: &'static str,
    pub(crate) quiet: Vec<Duration>,
    pub(crate) meanwhile: Vec<Duration>,
}

/// Runs one attack after the other.
pub(crate) async fn all(url: &str) -> anyhow::Result<Vec<Felt>> {
    let victim = Caller::new(url, "victim", "user", VICTIMS)?;
    sign_up(&victim, "User", "username").await?;
    Ok(vec![
        idle_connections(url).await?,
        trickled_uploads(url, &victim).await?,
        lists(url, &victim).await?,
        logins(url, &victim).await?,
        unread_answers(url).await?,
    ])
}

async fn idle_connections(url: &str) -> anyhow::Result<Felt> {
    let look = async || {
        // A connection for each call: the attack is on these.
        let answer = client(VICTIMS)?.get(format!("{url}/healthz")).send().await?;
        ensure!(answer.status().is_success(), "the victim was refused");
        Ok(())
    };
    let quiet = timed(CALLS, look).await?;
    let mut held = Vec::new();
    for _ in 0..IDLE {
        let mut connection = connect(url).await?;
        // The server closes what is beyond the address's share.
        let _ = connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        held.push(connection);
    }
    let meanwhile = timed(CALLS, look).await?;
    Ok(Felt {
        attack: format!("{IDLE} idle connections"),
        call: "healthz, each on a new connection",
        quiet,
        meanwhile,
    })
}

async fn trickled_uploads(url: &str, victim: &Caller) -> anyhow::Result<Felt> {
    let upload = async || {
        let files = json!([{"filename": "a.txt", "content": "aGVsbG8="}]);
        victim.call("/medilocker/upload", json!({"email": victim.email, "files": files})).await.map(drop)
    };
    let quiet = timed(CALLS, upload).await?;
    let mut held = Vec::new();
    for number in 0..TRICKLED {
        let attacker = Caller::new(url, &format!("attacker{}", number / 2), "user", ATTACKERS)?;
        let mut connection = connect(url).await?;
        let head = format!(
            "POST /medilocker/upload HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {}\r\n\
             Content-Length: 1000000\r\n\r\n{{\"email\":",
            attacker.token
        );
        connection.write_all(head.as_bytes()).await?;
        held.push(connection);
    }
    let meanwhile = timed(CALLS, upload).await?;
    Ok(Felt {
        attack: format!("{TRICKLED} uploads that never end"),
        call: "upload of one small file",
        quiet,
        meanwhile,
    })
}

async fn lists(url: &str, victim: &Caller) -> anyhow::Result<Felt> {
    let attacker = Caller::new(url, "attacker0", "user", ATTACKERS)?;
    let list = async |caller: &Caller| {
        caller.call("/medilocker/fetch", json!({"email": caller.email})).await.map(drop)
    };
    let quiet = timed(CALLS, async || list(victim).await).await?;
    let mut flood = JoinSet::new();
    for _ in 0..LISTS {
        let attacker = attacker.clone();
        flood.spawn(async move {
            loop {
                // Most of them are refused as busy.
                let _ = attacker.call("/medilocker/fetch", json!({"email": attacker.email})).await;
            }
        });
    }
    let meanwhile = timed(CALLS, async || list(victim).await).await?;
    flood.shutdown().await;
    Ok(Felt {
        attack: format!("{LISTS} lists of a locker without a pause"),
        call: "list of a locker",
        quiet,
        meanwhile,
    })
}

async fn logins(url: &str, victim: &Caller) -> anyhow::Result<Felt> {
    let attacker = Caller::new(url, "attacker0", "user", ATTACKERS)?;
    sign_up(&attacker, "User", "username").await?;
    let login = async |caller: &Caller| {
        caller.call("/auth/loginUser", json!({"email": caller.email, "password": PASSWORD})).await.map(drop)
    };
    let quiet = timed(LOGIN_CALLS, async || login(victim).await).await?;
    let mut crowd: FuturesUnordered<_> = (0..LOGINS).map(|_| login(&attacker)).collect();
    // When the first is answered, the others wait in the queue.
    crowd.next().await;
    let calls = timed(LOGIN_CALLS, async || login(victim).await);
    let everybody_else = async { while crowd.next().await.is_some() {} };
    let (meanwhile, ()) = tokio::join!(calls, everybody_else);
    Ok(Felt {
        attack: format!("{LOGINS} log-ins with the right password"),
        call: "log-in",
        quiet,
        meanwhile: meanwhile?,
    })
}

async fn unread_answers(url: &str) -> anyhow::Result<Felt> {
    for number in 0..DOCTORS {
        let doctor = Caller::new(url, &format!("doctor{number}"), "doctor", VICTIMS)?;
        sign_up(&doctor, "Doctor", "doctorname").await?;
        let profile = json!({"email": doctor.email, "location": "Pune", "description": "x".repeat(2_000)});
        doctor.call("/doctorsService/completeProfile", profile).await?;
    }
    let victim = Caller::new(url, "victim", "user", VICTIMS)?;
    let list = async || victim.call("/doctorsService/fetchDoctors", json!({})).await.map(drop);
    let quiet = timed(CALLS, list).await?;
    let mut held = Vec::new();
    for number in 0..UNREAD {
        let mut connection = connect(url).await?;
        // Pages of their own, so that none is shared.
        let body = json!({"limit": number + 1}).to_string();
        let request = format!(
            "POST /doctorsService/fetchDoctors HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(request.as_bytes()).await?;
        let mut status = [0; 12];
        // The answer has begun, or the connection was closed.
        let _ = timeout(DEADLINE, connection.read_exact(&mut status)).await?;
        held.push(connection);
    }
    let meanwhile = timed(CALLS, list).await?;
    Ok(Felt {
        attack: format!("{UNREAD} lists of doctors that nobody reads"),
        call: "list of doctors",
        quiet,
        meanwhile,
    })
}

async fn sign_up(caller: &Caller, role: &str, name: &str) -> anyhow::Result<Value> {
    let account = json!({name: "A", "email": caller.email, "password": PASSWORD, "phoneNumber": "12345"});
    caller.call(&format!("/auth/signup{role}"), account).await
}

/// How long each of so many calls took, one after the other.
async fn timed(calls: usize, call: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<Vec<Duration>> {
    let mut taken = Vec::new();
    for _ in 0..calls {
        let begun = Instant::now();
        timeout(DEADLINE, call()).await.context("the victim waits for too long")??;
        taken.push(begun.elapsed());
    }
    Ok(taken)
}

/// A connection from the attackers' address whose answers stay unread.
async fn connect(url: &str) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    socket.bind((ATTACKERS, 0).into())?;
    Ok(socket.connect(url.trim_start_matches("http://").parse()?).await?)
}
