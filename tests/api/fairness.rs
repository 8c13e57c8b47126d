//! Attackers at one address, and a victim at another who is served all the same. Every attack is bounded in count.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use futures::future::{join, join_all};
use futures::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use web::config::{AssistantConfig, PasswordConfig};

use crate::chat::with;
use crate::eventually::eventually;
use crate::harness::{DEADLINE, PASSWORD, TestApp, TestUser, config};
use crate::locker::{UPLOAD, file, started};
use crate::ollama::Ollama;
use crate::profiles::{FETCH, put, s};

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// A client that calls from 127.0.0.`last`.
fn client(last: u8) -> reqwest::Client {
    reqwest::Client::builder().local_address(std::net::IpAddr::from(address(last))).build().unwrap()
}

async fn post(client: &reqwest::Client, app: &TestApp, path: &str, token: &str, body: Value) -> u16 {
    let request = client.post(format!("{}{path}", app.url)).bearer_auth(token).json(&body);
    request.send().await.unwrap().status().as_u16()
}

/// A request from 127.0.0.`last` whose body of a megabyte never comes to its end.
async fn stalled(app: &TestApp, last: u8, path: &str, token: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address(last), 0).into()).unwrap();
    let server = app.url.trim_start_matches("http://").parse().unwrap();
    let mut connection = socket.connect(server).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 1000000\r\n\r\n{{\"email\":"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection
}

/// How many of these connections have been answered with 503, once `expected` have been.
async fn refused(connections: &mut [TcpStream], expected: usize) {
    let refused = AtomicUsize::new(0);
    let answers = connections.iter_mut().map(|connection| async {
        let mut status = [0; 12];
        connection.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 503");
        refused.fetch_add(1, Ordering::Relaxed);
    });
    let mut answers: FuturesUnordered<_> = answers.collect();
    let all = async {
        while refused.load(Ordering::Relaxed) < expected {
            answers.next().await.expect("more are refused than there are");
        }
    };
    timeout(DEADLINE, all).await.unwrap();
}

async fn users(app: &TestApp, count: usize) -> Vec<TestUser> {
    let mut users = Vec::new();
    for n in 0..count {
        users.push(app.user(&format!("attacker{n}")).await);
    }
    users
}

#[actix_web::test]
async fn uploads_that_trickle_from_one_address_leave_places_for_others() {
    let app = started().await;
    let attackers = users(&app, 12).await;
    let victim = app.user("victim").await;
    let mut connections = Vec::new();
    for attacker in attackers.iter().chain(&attackers) {
        connections.push(stalled(&app, 1, UPLOAD, &attacker.token).await);
    }
    // A quarter of the 24 places is the address's share.
    refused(&mut connections, 18).await;
    let client = client(2);
    for n in 0..20 {
        let body = json!({"email": victim.email, "files": [file(&format!("{n}.txt"), b"x")]});
        assert_eq!(post(&client, &app, UPLOAD, &victim.token, body).await, 200, "{n}");
    }
    drop(connections);
    app.stop().await;
}

#[actix_web::test]
async fn when_uploads_trickle_from_everywhere_the_slowest_makes_room() {
    let app = started().await;
    let attackers = users(&app, 12).await;
    let victim = app.user("victim").await;
    let mut connections = Vec::new();
    for (n, attacker) in attackers.iter().chain(&attackers).enumerate() {
        let last = 11 + u8::try_from(n / 6).unwrap();
        connections.push(stalled(&app, last, UPLOAD, &attacker.token).await);
    }
    let client = client(2);
    let upload = |name: String| {
        let body = json!({"email": victim.email, "files": [file(&name, b"x")]});
        post(&client, &app, UPLOAD, &victim.token, body)
    };
    // An upload has five seconds to show how fast it is; the victim repeats what is refused as busy.
    let mut attempts = 0..;
    let is_served = async || upload(format!("{}.txt", attempts.next().unwrap())).await == 200;
    eventually(DEADLINE, "the victim has a place", is_served).await;
    refused(&mut connections, 1).await;
    drop(connections);
    app.stop().await;
}

#[actix_web::test]
async fn documents_that_stall_leave_places_for_others() {
    let app = TestApp::start().await;
    let mut doctors = Vec::new();
    for n in 0..6 {
        doctors.push(app.doctor_without_slots(&format!("attacker{n}")).await);
    }
    let victim = app.doctor_without_slots("victim").await;
    let path = "/doctorsService/completeProfile";
    let mut connections = Vec::new();
    for doctor in &doctors {
        connections.push(stalled(&app, 1, path, &doctor.token).await);
    }
    let client = client(2);
    for n in 0..10 {
        let body = json!({"email": victim.email, "fees": n, "padding": "x".repeat(100_000)});
        assert_eq!(post(&client, &app, path, &victim.token, body).await, 200, "{n}");
    }
    drop(connections);
    app.stop().await;
}

#[actix_web::test]
async fn lists_that_one_address_asks_for_without_a_pause_refuse_nobody_else() {
    let app = started().await;
    let (attacker, victim) = (app.user("attacker").await, app.user("victim").await);
    let (doctor, ben) = (app.doctor("asha").await, app.doctor("ben").await);
    for user in [&attacker, &victim] {
        let files: Vec<Value> = (0..20).map(|n| file(&format!("{n}.txt"), b"x")).collect();
        let body = json!({"email": user.email, "files": files});
        assert_eq!(app.as_user(user).post(UPLOAD, body).await.0, 200);
    }
    let (from_here, from_there) = (client(1), client(2));
    for (path, attacks, asks) in [
        (
            "/medilocker/fetch",
            (&attacker.token, json!({"email": attacker.email})),
            (&victim.token, json!({"email": victim.email})),
        ),
        (
            "/doctorBookings/fetchBookings",
            (&doctor.token, json!({"id": doctor.email, "type": "doctor", "days": 365})),
            (&ben.token, json!({"id": ben.email, "type": "doctor", "days": 7})),
        ),
    ] {
        let flood = join_all((0..42).map(|_| post(&from_here, &app, path, attacks.0, attacks.1.clone())));
        let victims = async {
            let mut statuses = Vec::new();
            for _ in 0..42 {
                statuses.push(post(&from_there, &app, path, asks.0, asks.1.clone()).await);
            }
            statuses
        };
        let (_, statuses) = futures::join!(flood, victims);
        assert_eq!(statuses, [200; 42], "{path}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn questions_of_four_accounts_of_one_address_leave_places_for_others() {
    let mut ollama = Ollama::start().await;
    let app = TestApp::start_with(with(&ollama, AssistantConfig::default())).await;
    let (attackers, victim) = (users(&app, 4).await, app.user("victim").await);
    let (from_here, from_there) = (client(1), client(2));
    let ask = |client: &reqwest::Client, user: &TestUser| {
        let (client, email, token) = (client.clone(), user.email.clone(), user.token.clone());
        let app = &app;
        async move { post(&client, app, "/chat", &token, json!({"user_id": email, "message": "?"})).await }
    };
    let mut attacks: FuturesUnordered<_> =
        attackers.iter().chain(&attackers).map(|user| ask(&from_here, user)).collect();
    let victims = async {
        // A quarter of the eight places is the address's share.
        let held = [ollama.call().await, ollama.call().await];
        for _ in 0..3 {
            let answering = async { drop(ollama.answer(&["Yes."]).await) };
            assert_eq!(futures::join!(ask(&from_there, &victim), answering).0, 200);
        }
        held
    };
    let refused = async { attacks.by_ref().take(6).collect::<Vec<_>>().await };
    let (refused, held) = timeout(DEADLINE, join(refused, victims)).await.unwrap();
    assert_eq!(refused, [503; 6]);
    drop((held, attacks));
    app.stop().await;
}

/// A connection from 127.0.0.`last` on which one request has been answered; `None` if it was closed instead.
async fn idle(app: &TestApp, last: u8) -> Option<TcpStream> {
    idle_at(app.url.trim_start_matches("http://"), "/healthz", b"}", last).await
}

/// The same at another server, whose answers end so.
async fn idle_at(server: &str, path: &str, end: &[u8], last: u8) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address(last), 0).into()).unwrap();
    let mut connection = socket.connect(server.parse().unwrap()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let _ = connection.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let whole = async {
        while !answer.ends_with(end) {
            if connection.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                return false;
            }
        }
        true
    };
    timeout(DEADLINE, whole).await.unwrap().then_some(connection)
}

#[actix_web::test]
async fn idle_connections_of_one_address_leave_room_for_others() {
    let mut config = config();
    (config.server.connections_max, config.server.connections_of_network) = (40, 10);
    let app = TestApp::start_with(config).await;
    let mut held = Vec::new();
    for _ in 0..60 {
        held.extend(idle(&app, 1).await);
    }
    assert_eq!(held.len(), 10);
    for _ in 0..20 {
        assert!(idle(&app, 2).await.is_some());
    }
    // A connection that ends makes room for another of its address.
    drop(held.pop());
    eventually(DEADLINE, "another connection has room", async || idle(&app, 1).await.is_some()).await;
    app.stop().await;
}

/// The address of the S3 that a link leads to.
fn server_of(link: &str) -> String {
    link.trim_start_matches("http://").split('/').next().unwrap().to_owned()
}

/// The connections to the S3 of an application that are idle after 127.0.0.`last` has made so many.
async fn idle_at_s3(server: &str, last: u8, attempts: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..attempts {
        held.extend(idle_at(server, "/", b"</Error>", last).await);
    }
    held
}

/// Stores a file, and gives the link to it.
async fn link(app: &TestApp, user: &TestUser) -> String {
    let body = json!({"email": user.email, "files": [file("x.txt", b"x")]});
    assert_eq!(app.as_user(user).post(UPLOAD, body).await.0, 200);
    let body = json!({"email": user.email, "filename": "x.txt"});
    let (_, body) = app.as_user(user).post("/medilocker/download", body).await;
    body["download_url"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn links_open_for_others_when_one_address_holds_its_share_of_connections() {
    let app = started().await;
    let link = link(&app, &app.user("ada").await).await;
    let mut held = idle_at_s3(&server_of(&link), 1, 80).await;
    assert_eq!(held.len(), 64);
    for _ in 0..20 {
        // A connection of its own for each.
        assert_eq!(client(2).get(&link).send().await.unwrap().status(), 200);
    }
    drop(held.pop());
    let has_room = async || !idle_at_s3(&server_of(&link), 1, 1).await.is_empty();
    eventually(DEADLINE, "another connection to the S3 has room", has_room).await;
    app.stop().await;
}

#[actix_web::test]
async fn uploads_have_room_when_strangers_hold_every_connection_for_links() {
    let app = started().await;
    let (ada, others) = (app.user("ada").await, users(&app, 6).await);
    let server = server_of(&link(&app, &ada).await);
    let mut held = Vec::new();
    for last in 11..=14 {
        held.extend(idle_at_s3(&server, last, 64).await);
    }
    assert_eq!(held.len(), 256);
    let uploads = others.iter().map(async |user| {
        let body = json!({"email": user.email, "files": [file("x.txt", b"x")]});
        app.as_user(user).post(UPLOAD, body).await
    });
    let answers = timeout(DEADLINE, join_all(uploads)).await.unwrap();
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    // They did not wait until idle connections were closed, which happens after 30 s.
    let is_open = |connection: &TcpStream| {
        connection.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    assert!(held.iter().all(is_open));
    app.stop().await;
}

#[actix_web::test]
async fn trusted_proxy_may_hold_every_connection_for_links() {
    let mut config = config();
    config.server.trusted_proxies = vec!["127.0.0.9".parse::<std::net::IpAddr>().unwrap().into()];
    let app = TestApp::start_with(config).await;
    let server = server_of(&link(&app, &app.user("ada").await).await);
    assert_eq!(idle_at_s3(&server, 9, 80).await.len(), 80);
    app.stop().await;
}

#[actix_web::test]
async fn when_connections_run_out_the_longest_idle_one_of_the_largest_crowd_makes_room() {
    let mut config = config();
    (config.server.connections_max, config.server.connections_of_network) = (40, 10);
    let app = TestApp::start_with(config).await;
    let mut quiet = idle(&app, 5).await.unwrap();
    let mut crowds = Vec::new();
    for last in 11..=20 {
        for _ in 0..10 {
            crowds.extend(idle(&app, last).await);
        }
    }
    assert_eq!(crowds.len(), 100, "each was served");
    for _ in 0..20 {
        assert!(idle(&app, 2).await.is_some());
    }
    // The first of the crowds are closed; a network with a single connection keeps it.
    let mut byte = [0];
    assert_eq!(timeout(DEADLINE, crowds[0].read(&mut byte)).await.unwrap().unwrap(), 0);
    quiet.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(timeout(DEADLINE, quiet.read(&mut byte)).await.unwrap().unwrap(), 1);
    app.stop().await;
}

#[actix_web::test]
async fn passwords_are_checked_for_one_network_after_the_other() {
    let mut config = config();
    config.auth.passwords = PasswordConfig { workers: 1, ..PasswordConfig::default() };
    let app = TestApp::start_with(config).await;
    let (attackers, victim) = (users(&app, 5).await, app.user("victim").await);
    let log_in = |client: reqwest::Client, email: String| {
        let request = client.post(format!("{}/auth/loginUser", app.url));
        let request = request.json(&json!({"email": email, "password": PASSWORD}));
        async move { request.send().await.unwrap().status().as_u16() }
    };
    let from_here = client(1);
    let crowd = attackers.iter().cycle().take(50).map(|user| log_in(from_here.clone(), user.email.clone()));
    let mut crowd: FuturesUnordered<_> = crowd.collect();
    // When the first has been served, the others wait in the queue.
    assert_eq!(crowd.next().await, Some(200));
    let served = AtomicUsize::new(1);
    let everybody_else = async {
        while let Some(status) = crowd.next().await {
            assert_eq!(status, 200);
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    let victims = async {
        let status = log_in(client(2), victim.email.clone()).await;
        (status, served.load(Ordering::Relaxed))
    };
    let ((), (status, before)) = futures::join!(everybody_else, victims);
    assert_eq!(status, 200);
    assert!(before < 25, "{before} of the crowd came first");
    app.stop().await;
}

#[actix_web::test]
async fn a_crowd_that_guesses_keeps_no_owner_out() {
    let app = TestApp::start().await;
    let owner = app.user("owner").await;
    let log_in = async |client: &reqwest::Client, password: &str| {
        let request = client.post(format!("{}/auth/loginUser", app.url));
        let request = request.json(&json!({"email": owner.email, "password": password}));
        request.send().await.unwrap().status().as_u16()
    };
    // The owner has logged in at home with a browser, which travels.
    let jar = std::sync::Arc::new(reqwest::cookie::Jar::default());
    let browser = |last| {
        let client = reqwest::Client::builder().cookie_provider(jar.clone());
        client.local_address(std::net::IpAddr::from(address(last))).build().unwrap()
    };
    assert_eq!(log_in(&browser(3), PASSWORD).await, 200);
    for last in 11..=20 {
        let guesser = client(last);
        let guesses = join_all((0..10).map(|_| log_in(&guesser, "wrong password"))).await;
        assert!(guesses.iter().all(|status| [401, 429].contains(status)));
    }
    assert_eq!(log_in(&client(21), PASSWORD).await, 429, "a stranger waits until the guessing ends");
    assert_eq!(log_in(&client(3), PASSWORD).await, 200, "the owner gets in from home");
    assert_eq!(log_in(&browser(22), PASSWORD).await, 200, "and from anywhere with its browser");
    app.stop().await;
}

/// A request whose answer its client does not read beyond the status.
async fn unread(app: &TestApp, last: u8, path: &str, body: &Value) -> (TcpStream, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind((address(last), 0).into()).unwrap();
    let server = app.url.trim_start_matches("http://").parse().unwrap();
    let mut connection = socket.connect(server).await.unwrap();
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    timeout(DEADLINE, connection.read_exact(&mut status)).await.unwrap().unwrap();
    (connection, std::str::from_utf8(&status[9..]).unwrap().parse().unwrap())
}

#[actix_web::test]
async fn answers_that_nobody_reads_are_bounded_for_each_network() {
    let app = TestApp::start().await;
    let text = |length: usize| s(&"क".repeat(length));
    for n in 0..1_000 {
        let email = s(&format!("dr{n}@x.com"));
        let fields =
            [("email", email), ("location", s("Pune")), ("description", text(2_000)), ("timings", text(200))];
        put(&app, &fields).await;
    }
    // One page that everybody asks for is in memory once.
    let mut connections = Vec::new();
    for _ in 0..60 {
        let (connection, status) = unread(&app, 1, FETCH, &json!({})).await;
        assert_eq!(status, 200);
        connections.push(connection);
    }
    // Each of these pages is another one, of more megabytes than the system buffers.
    let another = |n: usize| json!({"search": "pune", "limit": 900 + n});
    let mut statuses = Vec::new();
    for n in 0..12 {
        let (connection, status) = unread(&app, 1, FETCH, &another(n)).await;
        connections.push(connection);
        statuses.push(status);
    }
    assert_eq!((statuses[0], statuses[11]), (200, 503), "{statuses:?}");
    let client = client(2);
    for n in 20..23 {
        let request = client.post(format!("{}{FETCH}", app.url)).json(&another(n));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let page: Value = answer.json().await.unwrap();
        assert_eq!(page["doctors"].as_array().unwrap().len(), 900 + n);
    }
    // What is read, or given up, leaves room.
    drop(connections);
    let is_served = async || unread(&app, 1, FETCH, &another(30)).await.1 == 200;
    eventually(DEADLINE, "the network has room for another answer", is_served).await;
    app.stop().await;
}
