//! How neighbours slow a caller down, measured on the real binary over its embedded stores.
//!
//! - Bookings, while one address sends a thousand wrong passwords, and while ten users upload 20 files of 10 MiB each.
//!   Afterwards every file must be listed, and one must come back byte for byte.
//! - Calls from one address (the victim's), while another address holds all that it can of what is scarce
//!   (`attacks.rs`). Every call of the victim must succeed.
//!
//! Prints how long the calls took before and meanwhile, and the server's peak memory, all from one run. Client and server
//! share the cores; bookings are timed on a thread of their own. Limits by address are off, so that the server checks
//! every password. The data lies in the target folder: a store in memory would flush for nothing. An argument makes the
//! files smaller: `cargo bench --profile dist --bench neighbours -- 1`.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod attacks;
#[path = "../support/mod.rs"]
mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::Days;
use engine::{Clinic, Clock, SystemClock};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Body, Client};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use support::{Server, kokoro, token};

/// Users who upload at once.
const UPLOADERS: usize = 10;
/// Files of each upload.
const FILES: usize = 20;
/// The longest file that is taken, in MiB.
const FILE_MIB: usize = 10;
/// Wrong passwords, all from one address, and how many of them are tried at once.
const GUESSES: usize = 1_000;
const GUESSES_AT_ONCE: usize = 32;
/// Users who book, and give the seat back, over and over.
const BOOKERS: usize = 8;
/// How long bookings are timed before the uploads begin.
const QUIET: Duration = Duration::from_secs(10);
/// How much of a body is sent at once.
const PIECE: usize = 64 * 1024;
const DOCTOR: &str = "doctor@clinic.example";
const WEEK: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Attackers call from here.
const ATTACKERS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
/// Bookers and victims call from here.
const VICTIMS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Calls with the token of one account, from one address.
#[derive(Clone)]
struct Caller {
    http: Client,
    url: String,
    email: String,
    token: String,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("This takes minutes: cargo bench --profile dist --bench neighbours");
        return Ok(());
    }
    web::http_client::install_cryptography();
    let mib = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(FILE_MIB);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let server = Server::start(&mut kokoro(&folder.path().join("data")))?;
    let runtime = runtime()?;
    runtime.block_on(publish(&server.url))?;
    let attacks = runtime.block_on(attacks::all(&server.url))?;

    println!("{BOOKERS} users book and give back for {} s", QUIET.as_secs());
    let (quiet, ()) = meanwhile(&server.url, || {
        runtime.block_on(async { tokio::time::sleep(QUIET).await });
        Ok(())
    })?;
    let before = peak_kib(&server)?;

    println!("{GUESSES} wrong passwords, {GUESSES_AT_ONCE} at once; {BOOKERS} go on booking");
    let (guessed, guessing) = meanwhile(&server.url, || {
        let begun = Instant::now();
        runtime.block_on(guess(&server.url))?;
        Ok(begun.elapsed().as_secs_f64())
    })?;

    println!("{UPLOADERS} users upload {FILES} files of {mib} MiB each; {BOOKERS} go on booking");
    let content: Vec<u8> = (0..mib * 1024 * 1024).map(|n: usize| (n % 251) as u8).collect();
    let (busy, seconds) = meanwhile(&server.url, || {
        let begun = Instant::now();
        runtime.block_on(upload_all(&server.url, &BASE64_STANDARD.encode(&content)))?;
        Ok(begun.elapsed().as_secs_f64())
    })?;
    let after = peak_kib(&server)?;
    runtime.block_on(check(&server.url, &content))?;

    let total = UPLOADERS * FILES * mib;
    println!("\n{GUESSES} passwords in {guessing:.1} s: {:.0}/s", GUESSES as f64 / guessing);
    println!("{total} MiB of files in {seconds:.1} s: {:.0} MiB/s", total as f64 / seconds);
    println!("server's peak resident memory: {} MiB before, {} MiB after", before / 1024, after / 1024);
    println!("| bookings and cancellations | calls | p50 ms | p99 ms | longest ms |\n|---|---|---|---|---|");
    print_row("before", quiet);
    print_row("among wrong passwords", guessed);
    print_row("among uploads", busy);
    println!(
        "\n| attack from one address | calls from another | calls | p50 ms | p99 ms | longest ms |\n|---|---|---|---|---|---|"
    );
    for attacks::Felt { attack, call, quiet, meanwhile } in attacks {
        print_row(&format!("none | {call}"), quiet);
        print_row(&format!("{attack} | {call}"), meanwhile);
    }
    server.stop()
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Does something while others book, and says how long each of their calls took.
fn meanwhile<T>(url: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(Vec<Duration>, T)> {
    let done = Arc::new(AtomicBool::new(false));
    let (url, stop) = (url.to_owned(), Arc::clone(&done));
    let booking = thread::spawn(move || {
        let bookers =
            (0..BOOKERS).map(|number| Caller::new(&url, &format!("booker{number}"), "user", VICTIMS));
        let bookers = bookers.collect::<anyhow::Result<Vec<_>>>()?;
        runtime()?.block_on(try_join_all(bookers.into_iter().map(|booker| book(booker, &stop))))
    });
    let outcome = work();
    done.store(true, Ordering::Release);
    let booked = booking.join().map_err(|_| anyhow::anyhow!("the bookers have died"))??;
    Ok((booked.concat(), outcome?))
}

async fn book(caller: Caller, stop: &AtomicBool) -> anyhow::Result<Vec<Duration>> {
    let clinic = Clinic::compiled_in("Asia/Kolkata").context("the zone is not compiled in")?;
    let today = clinic.today(SystemClock.now());
    let mut taken = Vec::new();
    for turn in 0_u64.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        // Tomorrow and the 13 days after it stay in the window beyond midnight.
        let (date, start) = (today + Days::new(1 + turn / 48 % 14), turn % 48);
        let start = format!("{:02}:{:02}", start / 2, start % 2 * 30);
        let seat = json!({"doctor_id": DOCTOR, "date": date.to_string(), "start": start});
        for call in ["book", "cancel"] {
            let begun = Instant::now();
            let answer = caller.call(&format!("/doctorBookings/{call}"), seat.clone()).await;
            match answer {
                Ok(_) => taken.push(begun.elapsed()),
                // Five seats and eight who want one: a refusal is an answer too.
                Err(error) if error.to_string().contains("slot_full") => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(taken)
}

/// A doctor who offers every half hour.
async fn publish(url: &str) -> anyhow::Result<()> {
    let doctor = Caller::new(url, DOCTOR, "doctor", VICTIMS)?;
    let account =
        json!({"doctorname": "D", "email": DOCTOR, "password": "correct horse", "phoneNumber": "12345"});
    doctor.call("/auth/signupDoctor", account).await?;
    for day in WEEK {
        let slots = json!([{"start": "00:00", "end": "24:00"}]);
        let body = json!({"doctor_id": DOCTOR, "day": day, "slots": slots});
        doctor.call("/doctorsService/setSlots", body).await?;
    }
    Ok(())
}

/// Guesses at the doctor's password.
async fn guess(url: &str) -> anyhow::Result<()> {
    let (http, path) = (client(ATTACKERS)?, format!("{url}/auth/loginDoctor"));
    let guesses = (0..GUESSES).map(|number| {
        let body = json!({"email": DOCTOR, "password": format!("guess {number}")});
        let request = http.post(&path).json(&body);
        async move {
            let status = request.send().await?.status().as_u16();
            ensure!(status == 401, "a wrong password was answered with {status}");
            Ok(())
        }
    });
    stream::iter(guesses).buffer_unordered(GUESSES_AT_ONCE).try_collect().await
}

/// Each uploads from an address of its own: one network gets a quarter of the places.
fn uploader(url: &str, number: usize) -> anyhow::Result<Caller> {
    let address = Ipv4Addr::new(127, 0, 1, u8::try_from(number + 1)?);
    Caller::new(url, &format!("uploader{number}@example.com"), "user", address)
}

fn client(address: Ipv4Addr) -> reqwest::Result<Client> {
    Client::builder().local_address(IpAddr::from(address)).build()
}

async fn upload_all(url: &str, content: &str) -> anyhow::Result<()> {
    let content = bytes_of(content.to_owned());
    let uploaders = (0..UPLOADERS).map(|number| uploader(url, number)).collect::<anyhow::Result<Vec<_>>>()?;
    try_join_all(uploaders.into_iter().map(|uploader| upload(uploader, &content))).await?;
    Ok(())
}

/// All bodies share the one content.
async fn upload(caller: Caller, content: &Pieces) -> anyhow::Result<()> {
    let mut body = bytes_of(format!("{{\"email\":\"{}\",\"files\":[", caller.email));
    for number in 0..FILES {
        let comma = if number == 0 { "" } else { "," };
        body.extend(bytes_of(format!("{comma}{{\"filename\":\"{number}.bin\",\"content\":\"")));
        body.extend(content.iter().cloned());
        body.extend(bytes_of("\"}".to_owned()));
    }
    body.extend(bytes_of("]}".to_owned()));
    let body = Body::wrap_stream(stream::iter(body.into_iter().map(Ok::<_, std::io::Error>)));
    let request = caller.http.post(format!("{}/medilocker/upload", caller.url)).bearer_auth(&caller.token);
    let answer = request.header("Content-Type", "application/json").body(body).send().await?;
    ensure!(answer.status().is_success(), "an upload was refused: {}", answer.text().await?);
    Ok(())
}

type Pieces = Vec<Piece>;
type Piece = actix_web::web::Bytes;

fn bytes_of(text: String) -> Pieces {
    let mut rest = Piece::from(text);
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        pieces.push(rest.split_to(rest.len().min(PIECE)));
    }
    pieces
}

/// All files are there, and one of them is what was sent.
async fn check(url: &str, content: &[u8]) -> anyhow::Result<()> {
    for number in 0..UPLOADERS {
        let caller = uploader(url, number)?;
        let listed = caller.call("/medilocker/fetch", json!({"email": caller.email})).await?;
        let files = listed["files"].as_array().context("no list")?;
        let whole = files.iter().filter(|file| file["size"] == content.len()).count();
        ensure!(whole == FILES, "{whole} of {FILES} files are there");
    }
    let caller = uploader(url, 0)?;
    let file = json!({"email": caller.email, "filename": "7.bin"});
    let link = caller.call("/medilocker/download", file).await?;
    let link = link["download_url"].as_str().context("no link")?;
    let downloaded = caller.http.get(link).send().await?.error_for_status()?.bytes().await?;
    ensure!(downloaded == content, "a file came back changed");
    Ok(())
}

fn print_row(name: &str, mut taken: Vec<Duration>) {
    taken.sort();
    let at = |share: f64| {
        let index = (taken.len() as f64 * share) as usize;
        taken.get(index.min(taken.len().saturating_sub(1))).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    println!("| {name} | {} | {:.1} | {:.1} | {:.1} |", taken.len(), at(0.5), at(0.99), at(1.0));
}

impl Caller {
    /// With a token as the platform issues them, without the price of a log-in.
    fn new(url: &str, email: &str, role: &str, address: Ipv4Addr) -> anyhow::Result<Self> {
        let email = if email.contains('@') { email.to_owned() } else { format!("{email}@example.com") };
        let token = token(&email, role);
        Ok(Self { http: client(address)?, url: url.to_owned(), email, token })
    }

    async fn call(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token).json(&body);
        let answer = request.send().await?;
        let (status, body): (_, Value) = (answer.status(), answer.json().await?);
        ensure!(status.is_success(), "{path} was refused: {body}");
        Ok(body)
    }
}

/// The most memory that a server ever had: `VmHWM` of proc(5).
fn peak_kib(server: &Server) -> anyhow::Result<u64> {
    let status = server.proc("status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
