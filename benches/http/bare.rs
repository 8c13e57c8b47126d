//! What any program on this server would pay: a process of its own, whose handlers parse the request, check the token
//! if told to, and answer with bytes that they were given.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use actix_web::http::header::AUTHORIZATION;
use actix_web::web::{Bytes, Data, Json, post};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use anyhow::Context;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use serde::Deserialize;

use crate::node::Examples;
use crate::support::{SECRET, Server};

/// Makes this program the bare server; the folder of its answers follows.
pub(crate) const ARGUMENT: &str = "--serve-bare";
const BOOKED: &str = "booked.json";
const AVAILABLE: &str = "available.json";

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is only parsed")]
struct BookRequest {
    doctor_id: String,
    date: String,
    start: String,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is only parsed")]
struct AvailableRequest {
    doctor_id: String,
    date: String,
}

#[derive(Deserialize)]
struct Claims {
    exp: i64,
}

struct Answers {
    booked: Bytes,
    available: Bytes,
    key: hmac::Key,
}

/// Starts it as a process of its own, which answers with these examples.
pub(crate) fn start(folder: &Path, examples: &Examples) -> anyhow::Result<Server> {
    fs::write(folder.join(BOOKED), &examples.booked)?;
    fs::write(folder.join(AVAILABLE), &examples.available)?;
    Server::start(Command::new(std::env::current_exe()?).arg(ARGUMENT).arg(folder))
}

/// Serves until the standard input ends, with the parent at the latest.
pub(crate) fn serve(folder: &Path) -> anyhow::Result<()> {
    let answers = Data::new(Answers {
        booked: fs::read(folder.join(BOOKED))?.into(),
        available: fs::read(folder.join(AVAILABLE))?.into(),
        key: hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()),
    });
    std::thread::spawn(|| {
        // However it ends, nobody is there any more.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    actix_web::rt::System::new().block_on(async {
        let server = HttpServer::new(move || {
            App::new()
                .app_data(answers.clone())
                .route("/book", post().to(book))
                .route("/book/checked", post().to(book_checked))
                .route("/available", post().to(available))
        });
        let server = server.bind(("127.0.0.1", 0))?;
        let address = server.addrs().first().copied().context("no address")?;
        println!("http://{address}");
        Ok(server.run().await?)
    })
}

async fn book(answers: Data<Answers>, _: Json<BookRequest>) -> HttpResponse {
    answer(&answers.booked)
}

async fn book_checked(answers: Data<Answers>, request: HttpRequest, _: Json<BookRequest>) -> HttpResponse {
    match claims(&request, &answers.key) {
        Some(claims) if claims.exp > 0 => answer(&answers.booked),
        Some(_) | None => HttpResponse::Unauthorized().finish(),
    }
}

async fn available(answers: Data<Answers>, _: Json<AvailableRequest>) -> HttpResponse {
    answer(&answers.available)
}

fn answer(body: &Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(body.clone())
}

/// What a token signed with HMAC-SHA256 claims.
fn claims(request: &HttpRequest, key: &hmac::Key) -> Option<Claims> {
    let token = request.headers().get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    let (signed, signature) = token.rsplit_once('.')?;
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
    hmac::verify(key, signed.as_bytes(), &signature).ok()?;
    let (_, claims) = signed.split_once('.')?;
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}
