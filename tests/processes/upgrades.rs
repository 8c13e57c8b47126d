//! One process after the other on one listening socket and one data folder, under load, as systemd does it: nobody is refused
//! a connection, and a client that repeats what failed gets what it wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures::future::join_all;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::harness::*;

const UPGRADES: usize = 3;
const PATIENTS: usize = 24;
/// Bookings of each life before it is told to stop.
const BOOKINGS: usize = 150;
/// Slots that each patient asks for in turn, on two weeks of dates.
const SLOTS: usize = 48;
/// A request that fails more often than this is not healed by repeating it: each life of a process may fail it twice, by a
/// refusal and by closing its connection.
const ATTEMPTS_MAX: usize = 2 * (UPGRADES + 1);
/// What has not come to pass by then never will.
const PATIENCE: Duration = Duration::from_secs(300);

/// Holds the socket, starts one process after the other on it, and hears how they fare.
struct Supervisor<'a> {
    socket: TcpListener,
    told: UnixDatagram,
    folder: &'a Path,
}

impl<'a> Supervisor<'a> {
    fn new(scratch: &Path, folder: &'a Path) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let told = UnixDatagram::bind(scratch.join("notify")).unwrap();
        Self { socket, told, folder }
    }

    fn url(&self) -> String {
        format!("http://{}", self.socket.local_addr().unwrap())
    }

    /// The shell gives the process its socket as systemd does: as the first descriptor after the standard ones, for the process
    /// of this number.
    fn command(&self) -> Command {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\""]);
        shell.arg(env!("CARGO_BIN_EXE_kokoro")).env_clear().kill_on_drop(true);
        shell.stdin(Stdio::from(OwnedFd::from(self.socket.try_clone().unwrap())));
        shell.stdout(Stdio::null()).stderr(Stdio::piped());
        shell.env("KOKORO_DATA_DIR", self.folder).env("KOKORO_JWT_SECRET", SECRET);
        shell.env("RATE_LIMIT_PER_MINUTE", "0").env("KOKORO_BOOKINGS_PER_DOCTOR_MAX", "0");
        shell.env("RUST_LOG", "warn");
        shell.env("NOTIFY_SOCKET", self.told.local_addr().unwrap().as_pathname().unwrap());
        shell
    }

    /// Starts one, and waits until it says that it is ready.
    async fn start(&self) -> Child {
        let mut process = self.command().spawn().unwrap();
        tokio::select! {
            said = self.hears() => assert_eq!(said, "READY=1\n"),
            _ = process.wait() => {
                let output = process.wait_with_output().await.unwrap();
                panic!("it did not start: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
        process
    }

    /// Tells it to stop, and waits until it has. Gives how long that took.
    async fn stop(&self, process: Child) -> Duration {
        let begun = Instant::now();
        let pid = process.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        assert_eq!(self.hears().await, "STOPPING=1\n");
        let output = process.wait_with_output().await.unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{log}");
        begun.elapsed()
    }

    async fn hears(&self) -> String {
        let mut message = [0; 256];
        let length = timeout(PATIENCE, self.told.recv(&mut message)).await.expect("it says nothing").unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    Booked {
        /// The answer says that the connection ends with it.
        last: bool,
    },
    Full {
        last: bool,
    },
    /// 503, nothing was changed.
    NotNow,
    /// 503, nobody knows.
    Unknown,
    /// No answer began.
    Closed,
    /// Nobody listened.
    Refused,
}

/// What all patients were told.
struct Ward {
    url: String,
    doctors: Vec<String>,
    booked: watch::Sender<usize>,
    over: watch::Sender<bool>,
}

/// What one of them was told.
#[derive(Default)]
struct Told {
    seats: BTreeSet<(String, String)>,
    ends: BTreeMap<Ended, usize>,
}

impl Ward {
    /// Asks for one slot after the other over a connection of its own that is kept, and repeats what failed at once, under the
    /// same key: when the answer says that the connection ends, the next one waits for the next process.
    async fn patient(&self, name: &str) -> Told {
        let http = Client::builder().pool_max_idle_per_host(1).timeout(PATIENCE).build().unwrap();
        let mut told = Told::default();
        for turn in 0.. {
            if *self.over.borrow() {
                break;
            }
            let (slot, day, round) = (turn % SLOTS, turn / SLOTS % 14, turn / SLOTS / 14);
            let (doctor, user) =
                (&self.doctors[turn % self.doctors.len()], format!("{name}.{round}@example.com"));
            let (date, start) = (date_in(1 + day as u64), format!("{:02}:{:02}", slot / 2, slot % 2 * 30));
            let body = json!({"doctor_id": doctor, "date": date, "start": start});
            let mut attempts = 0;
            let end = loop {
                attempts += 1;
                let end = self.ask(&http, &user, &format!("{name}-{turn}"), &body).await;
                *told.ends.entry(end).or_default() += 1;
                if matches!(end, Ended::Booked { .. } | Ended::Full { .. }) {
                    break end;
                }
                assert!(attempts < ATTEMPTS_MAX, "repeating does not heal it: {:?}", told.ends);
            };
            if matches!(end, Ended::Booked { .. }) {
                told.seats.insert(keys(doctor, &user, &date, &start));
                self.booked.send_modify(|booked| *booked += 1);
            }
        }
        told
    }

    async fn ask(&self, http: &Client, user: &str, key: &str, body: &Value) -> Ended {
        let request = http.post(format!("{}/doctorBookings/book", self.url)).json(body);
        let request = request.bearer_auth(user_token(user)).header("Idempotency-Key", key);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Ended::Refused,
            Err(_) => return Ended::Closed,
        };
        let status = answer.status().as_u16();
        let last = answer.headers().get("connection").is_some_and(|value| value == "close");
        let body: Value = answer.json().await.unwrap_or_else(|error| panic!("a torn answer: {error}"));
        match (status, body["code"].as_str()) {
            (200, _) => Ended::Booked { last },
            (409, Some("slot_full")) => Ended::Full { last },
            (503, Some("shutting_down")) => {
                assert!(last, "more is sent into a connection that ends");
                Ended::NotNow
            }
            (503, Some("busy" | "unavailable")) => Ended::NotNow,
            (503, Some("outcome_unknown")) => Ended::Unknown,
            _ => panic!("{status} {body}"),
        }
    }

    async fn goes_on(&self) {
        let before = *self.booked.borrow();
        self.booked.subscribe().wait_for(|now| *now >= before + BOOKINGS).await.unwrap();
    }
}

/// What the packaged service gives a process to stop.
fn stop_within() -> Duration {
    let unit = include_str!("../../deploy/kokoro.service");
    let seconds = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    Duration::from_secs(seconds.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_upgrades_under_load_refuse_no_connection_and_fail_nothing_that_a_repeat_does_not_heal() {
    let (scratch, path) = folder();
    let before = Node::start(&Data::Folder(&path));
    let doctors = vec![before.doctor("asha").await, before.doctor("ravi").await];
    before.signal("-TERM");
    assert!(before.ended().await.0.success());

    let supervisor = Supervisor::new(scratch.path(), &path);
    let ward = Ward {
        url: supervisor.url(),
        doctors,
        booked: watch::Sender::new(0),
        over: watch::Sender::new(false),
    };
    let mut process = supervisor.start().await;
    let ready = reqwest::get(format!("{}/readyz", ward.url)).await.unwrap();
    assert_eq!(ready.status(), 200, "it said that it is ready");
    let upgrades = async {
        // Keeps a connection on which it asks for nothing while a process stops.
        let idle = Client::new();
        for _ in 0..UPGRADES {
            ward.goes_on().await;
            let alive = idle.get(format!("{}/healthz", ward.url)).send().await.unwrap().text().await.unwrap();
            assert_eq!(alive, r#"{"status":"alive"}"#);
            let took = supervisor.stop(process).await;
            assert!(took < stop_within(), "{took:?}");
            process = supervisor.start().await;
        }
        ward.goes_on().await;
        ward.over.send_replace(true);
        process
    };
    let names: Vec<String> = (0..PATIENTS).map(|n| format!("patient{n}")).collect();
    let patients = join_all(names.iter().map(|name| ward.patient(name)));
    let all = async { futures::join!(patients, upgrades) };
    let (told, process) = timeout(PATIENCE, all).await.expect("the upgrades come to no end");
    supervisor.stop(process).await;

    let (mut seats, mut ends) = (BTreeSet::new(), BTreeMap::new());
    for patient in told {
        seats.extend(patient.seats);
        for (end, times) in patient.ends {
            *ends.entry(end).or_insert(0) += times;
        }
    }
    assert!(!ends.contains_key(&Ended::Refused), "connections were refused: {ends:?}");
    // What is on its way when a process is told to stop is answered, and more is not sent on that connection.
    let told_last = |end: &Ended| matches!(end, Ended::Booked { last: true } | Ended::Full { last: true });
    assert!(ends.keys().any(told_last), "connections ended without a word: {ends:?}");
    let stored = Store::left_in(&path).await.bookings().await;
    assert_no_slot_above_five(&stored);
    // Nobody gave up, so what is stored is what was acknowledged, each once.
    assert_eq!(stored, seats);
}

#[tokio::test]
async fn a_socket_that_is_not_where_the_settings_say_is_no_reason_to_depose_anybody() {
    let (scratch, path) = folder();
    let supervisor = Supervisor::new(scratch.path(), &path);
    let elsewhere = free_address();
    let output = supervisor.command().env("KOKORO_LISTEN", &elsewhere).output().await.unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{log}");
    assert!(log.contains(&elsewhere) && log.contains("kokoro.socket"), "{log}");
    assert!(!path.exists(), "it began to work");
}
