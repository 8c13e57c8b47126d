//! All of a request but its body, byte by byte over connections of their own: targets, queries, headers, tokens.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::chance::{Dice, cases};
use crate::json::bruise;
use crate::routes::{World, token};

/// A program that says nothing for so long says nothing at all.
const SILENCE: Duration = Duration::from_secs(60);

const TARGETS: [&str; 14] = [
    "/chat/history/ada@example.com",
    "/chat/history/ada%40example.com",
    "/chat/history/%ff%00%2e%2e%2f",
    "/openapi.json",
    "/docs",
    "/docs/index.html",
    "/docs/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/healthz",
    "/readyz",
    "/metrics",
    "/",
    "/doctorBookings/book",
    "/audit/mine?cursor=kanarie",
    "/payment/webhook",
];

const PIECES: [&str; 20] = [
    "%",
    "%2",
    "%zz",
    "%00",
    "%2f",
    "%5c",
    "..",
    "//",
    "?",
    "?a=b&a=c",
    "?%",
    "#",
    ";",
    "*",
    "kanarie",
    "\u{e9}",
    "http://kanarie/",
    "[::1]",
    "@",
    "+",
];

const METHODS: [&str; 11] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "KANARIE"];

/// Headers that some part of the way reads; `{}` is what is drawn.
const HEADERS: [&str; 22] = [
    "Authorization: {}",
    "Authorization: Bearer {}",
    "authorization: bEaReR   {}",
    "Authorization: Basic {}",
    "Cookie: kokoro_session={}",
    "Cookie: {}; kokoro_session={}; kokoro_session={}",
    "Content-Type: {}",
    "Accept: text/event-stream;q={}",
    "Accept-Encoding: {}",
    "Idempotency-Key: {}",
    "X-Forwarded-For: {}, 127.0.0.1",
    "X-Forwarded-Proto: {}",
    "X-Razorpay-Signature: {}",
    "X-Request-Id: {}",
    "Origin: {}",
    "Sec-Fetch-Site: {}",
    "Access-Control-Request-Method: {}",
    "Range: bytes={}",
    "If-None-Match: {}",
    "Host: {}",
    "Expect: {}",
    "{}: {}",
];

const VALUES: [&str; 18] = [
    "kanarie",
    "",
    " ",
    ",",
    ";",
    "=",
    "\"",
    "\"kanarie",
    "*",
    "0-",
    "cross-site",
    "https://kanarie.example",
    "application/json",
    "100-continue",
    "2001:db8::1",
    "[::1]:80",
    "\u{e9}\u{301}",
    "Bearer",
];

/// What came back: the status, and all of it as text.
async fn exchange(address: &str, request: &[u8]) -> Result<(u16, String), String> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let talk = async {
        // It may hang up before it has heard all.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..read]);
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = Box::pin(tokio::time::timeout(SILENCE, talk)).await.map_err(|_| "no answer".to_owned())?;
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    status.map(|status| (status, answer.clone())).ok_or_else(|| format!("no answer but {answer:?}"))
}

fn value(dice: &Dice, good: &str) -> String {
    match dice.below(6) {
        0 => good.to_owned(),
        1 => {
            let mut bytes = good.as_bytes().to_vec();
            bruise(&mut bytes, dice);
            // A line break would be another header, and then another test.
            let is_kept = |c: &char| !matches!(c, '\r' | '\n' | '\0');
            String::from_utf8_lossy(&bytes).chars().filter(is_kept).collect()
        }
        2 => "k".repeat(1 << dice.below(12)),
        _ => (*dice.pick(&VALUES)).to_owned(),
    }
}

/// A request that has an end, whatever else it has.
fn request(dice: &Dice, good: &str) -> Vec<u8> {
    let mut target = (*dice.pick(&TARGETS)).to_owned();
    for _ in 0..dice.below(3) {
        let boundaries: Vec<usize> = target.char_indices().map(|(at, _)| at).collect();
        let piece: &str = PIECES[dice.below(PIECES.len())];
        target.insert_str(*dice.pick(&boundaries), piece);
    }
    let mut head = format!("{} {target} HTTP/1.1\r\n", METHODS[dice.below(METHODS.len())]);
    if dice.percent(95) {
        head.push_str("Host: localhost\r\n");
    }
    for _ in 0..dice.below(6) {
        let header = *dice.pick(&HEADERS);
        let filled: Vec<String> = header.split("{}").map(str::to_owned).collect();
        for (n, piece) in filled.iter().enumerate() {
            if n > 0 {
                head.push_str(&value(dice, good));
            }
            head.push_str(piece);
        }
        head.push_str("\r\n");
    }
    head.push_str("Connection: close\r\n\r\n");
    head.into_bytes()
}

#[actix_web::test]
async fn no_head_breaks_the_program() {
    let world = World::start().await;
    let address = world.app.url.strip_prefix("http://").unwrap();
    for case in 0..cases(400) {
        let dice = Dice::of_case(case);
        let request = request(&dice, &world.ada.token);
        let told = Box::pin(exchange(address, &request)).await;
        let shown = String::from_utf8_lossy(&request).into_owned();
        let (status, answer) = told.unwrap_or_else(|error| panic!("case {case}: {error}: {shown}"));
        assert!(status < 500, "case {case}: {answer}\n{shown}");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(!body.contains("kanarie"), "case {case} is repeated: {answer}\n{shown}");
    }
    world.stop().await;
}

/// Tokens that bear a good signature and say what no token of ours says.
#[actix_web::test]
async fn no_token_breaks_the_program_or_opens_what_it_should_not() {
    let world = World::start().await;
    let now = world.app.clock_seconds();
    let subjects = [
        json!("ada@example.com"),
        json!("kanarie"),
        json!(""),
        json!("a#b@c"),
        json!(7),
        json!(null),
        json!(["ada@example.com"]),
        json!("\u{0}@x"),
        json!("k".repeat(4_000)),
    ];
    let times = [
        json!(now + 60),
        json!(now),
        json!(now - 1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e300),
        json!(now as f64 + 60.5),
        json!("2027"),
        json!(null),
        json!({}),
    ];
    let roles = [json!("user"), json!("doctor"), json!("admin"), json!("User"), json!(0), json!(null)];
    let algorithms =
        [json!("HS256"), json!("none"), json!("HS512"), json!("RS256"), json!("hs256"), json!(null)];
    for case in 0..cases(300) {
        let dice = Dice::of_case(case);
        let draw = |usual: serde_json::Value, from: &[serde_json::Value]| {
            if dice.percent(60) { usual } else { dice.pick(from).clone() }
        };
        let algorithm = draw(json!("HS256"), &algorithms);
        let header = json!({"alg": algorithm, "typ": "JWT"});
        let claims = json!({
            "sub": draw(json!("ada@example.com"), &subjects), "role": draw(json!("user"), &roles),
            "iat": draw(json!(now), &times), "exp": draw(json!(now + 60), &times),
        });
        let mut bytes = token(&header, &claims).into_bytes();
        let is_whole = !dice.percent(25);
        if !is_whole {
            bruise(&mut bytes, &dice);
        }
        let is_kept = |byte: &u8| byte.is_ascii_graphic();
        let sent: String = bytes.iter().copied().filter(is_kept).map(char::from).collect();
        let (status, body) = world.app.post("/audit/mine", Some(&sent), &json!({})).await;
        assert!([200, 401].contains(&status), "case {case}: {status} {body}\n{header} {claims}");
        let is_good = header["alg"] == "HS256"
            && claims["sub"] == "ada@example.com"
            && [json!("user"), json!("doctor")].contains(&claims["role"])
            && claims["iat"].as_i64().is_some()
            && claims["exp"].as_i64().is_some_and(|exp| exp > now);
        let is_unchanged = sent == token(&header, &claims);
        if is_unchanged {
            assert_eq!(status == 200, is_good, "case {case}: {status} {body}\n{header} {claims}");
        }
    }
    world.stop().await;
}
