//! Killed in the middle, and called again. With more rows than the suite needs, the measurement of docs/commands.md.

use std::fs;
use std::path::Path;

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use engine::SlotStart;
use serde_json::Value;
use tokio::net::UnixListener;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::flushes::{Flush, build_gate};
use crate::harness::*;
use crate::old_platform::{HASH, WEEKDAYS};
use crate::stores::*;

/// How many bookings and files there are, unless `KOKORO_TRANSFER_BOOKINGS` and `KOKORO_TRANSFER_FILES` say otherwise.
const BOOKINGS: usize = 3000;
const FILES: usize = 200;

fn size(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|size| size.parse().ok()).unwrap_or(usual)
}

/// Doctors with full days, and patients with files.
async fn fill(data: &Path) -> (usize, usize) {
    let (bookings, files) =
        (size("KOKORO_TRANSFER_BOOKINGS", BOOKINGS), size("KOKORO_TRANSFER_FILES", FILES));
    let store = Opened::at(data).await;
    let mut puts = Vec::new();
    let mut put = async |table: &str, row: &[(&str, AttributeValue)], is_last: bool| {
        let row = row.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let put = Put::builder().table_name(table).set_item(Some(row)).build().unwrap();
        puts.push(TransactWriteItem::builder().put(put).build());
        if puts.len() == 100 || is_last {
            let some = std::mem::take(&mut puts);
            store.dynamo.client().transact_write_items().set_transact_items(Some(some)).send().await.unwrap();
        }
    };
    for doctor in 0..bookings.div_ceil(1000) {
        let doctor = format!("dr{doctor}@x.com");
        put("Doctors", &[("email", s(&doctor)), ("doctorname", s("Rao")), ("password", s(HASH))], false)
            .await;
        for (weekday, slot) in WEEKDAYS.iter().flat_map(|weekday| (0..20).map(move |slot| (weekday, slot))) {
            let span = SlotStart::all().nth(16 + slot).unwrap().span();
            let row = [("PK", s(&format!("{doctor}#{weekday}"))), ("SK", s(&span.to_string()))];
            put("DoctorAvailabilityTable", &row, false).await;
        }
    }
    for user in 0..5 * 997 {
        let user = format!("u{}-{}@x.com", user % 5, user / 5);
        put("Users", &[("email", s(&user)), ("username", s("Ada")), ("password", s(HASH))], false).await;
    }
    for number in 0..bookings {
        // Five a slot, twenty slots a day, ten days a doctor.
        let (doctor, day, slot, seat) = (number / 1000, number / 100 % 10, number / 5 % 20, number % 5);
        let (doctor, user) = (format!("dr{doctor}@x.com"), format!("u{seat}-{}@x.com", number % 997));
        let (date, start) = (date_in(day as u64), SlotStart::all().nth(16 + slot).unwrap().to_string());
        let row = [
            ("PK", s(&format!("{doctor}#{date}"))),
            ("SK", s(&format!("{start}#{user}"))),
            ("doctor_id", s(&doctor)),
            ("date", s(&date)),
            ("start", s(&start)),
            ("user_id", s(&user)),
            ("ttl", n(4_000_000_000_u64)),
            ("event_id", s(&format!("{number:032x}"))),
        ];
        put("DoctorBookingsTable", &row, number + 1 == bookings).await;
    }
    let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).take(100_000).collect();
    for number in 0..files {
        let key = format!("u0-{}@x.com/scan {number}.png", number / 7);
        store
            .put_file("kokoro-medilocker", &key, &bytes[number % 1000..], &[("number", &number.to_string())])
            .await;
    }
    (bookings, files)
}

/// Starts a tool, and kills it in the middle: while it waits for a flush, as soon as it has come so far.
async fn killed_when(data: &Path, arguments: &[&str], has_come_so_far: impl Fn() -> bool) {
    let scratch = tempfile::tempdir().unwrap();
    let (library, socket) = (build_gate(scratch.path()).await, scratch.path().join("gate"));
    let gate = UnixListener::bind(&socket).unwrap();
    let mut tool = Command::from(tool(data, arguments));
    tool.env("LD_PRELOAD", library).env("KOKORO_FSYNC_GATE", socket).kill_on_drop(true);
    let mut child = tool.spawn().unwrap();
    let works = async {
        loop {
            let flush = Flush::next(&gate).await;
            if has_come_so_far() {
                return flush;
            }
            flush.let_through().await;
        }
    };
    tokio::select! {
        biased;
        held = timeout(DEADLINE, works) => {
            let held = held.expect("it does not come so far");
            child.kill().await.unwrap();
            drop(held);
        }
        ended = child.wait() => panic!("it was done before it was killed: {}", ended.unwrap()),
    }
}

fn read(path: &Path) -> Value {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_killed_half_way_goes_on_and_ends_the_same() {
    let (scratch, data) = folder();
    let (bookings, files) = fill(&data).await;
    let [whole, halved, there] = ["whole", "halved", "there"].map(|name| scratch.path().join(name));
    let begun = Instant::now();
    let sums = export(&data, &whole);
    println!("exported {bookings} bookings and {files} files in {:?}", begun.elapsed());
    assert!(sums.iter().any(|line| line.starts_with(&format!("bookings {bookings} "))), "{sums:?}");

    let export_to = ["export", halved.to_str().unwrap(), "--rate", "0"];
    let cursor = halved.join("tables/bookings.cursor");
    let exported = |count| read(&cursor)["sum"]["count"].as_u64().unwrap_or_default() >= count;
    killed_when(&data, &export_to, || exported(1000)).await;
    assert!(refused(&data, &["import", halved.to_str().unwrap()]).contains("no manifest"));
    let cursor = halved.join("files/medilocker.cursor");
    let exported = |count| read(&cursor)["sum"]["count"].as_u64().unwrap_or_default() >= count;
    killed_when(&data, &export_to, || exported(7)).await;
    assert_eq!(export(&data, &halved), sums);
    assert!(!cursor.exists() && !halved.join("export.json").exists());
    for lines in ["tables/bookings.jsonl", "files/medilocker.jsonl"] {
        assert!(fs::read(halved.join(lines)).unwrap() == fs::read(whole.join(lines)).unwrap(), "{lines}");
    }

    let import_from = ["import", halved.to_str().unwrap(), "--rate", "0"];
    let progress = halved.join("import.json");
    let at = || read(&progress);
    killed_when(&there, &import_from, || {
        let done = at()["done"].as_array().map_or(0, Vec::len);
        done == 2 && at()["at"].as_u64().unwrap_or_default() > 0
    })
    .await;
    killed_when(&there, &import_from, || at()["done"].as_array().map_or(0, Vec::len) >= 6).await;
    let import_from = ["import", halved.to_str().unwrap()];
    let elsewhere = scratch.path().join("elsewhere");
    assert!(refused(&elsewhere, &import_from).contains("into another store"));
    let begun = Instant::now();
    assert_eq!(import(&there, &halved), sums);
    println!("imported the rest in {:?}", begun.elapsed());
    assert!(!progress.exists());
    let (report, status) = check(&there);
    assert_eq!(status, 0, "{report}");

    if let Some(kept) = std::env::var_os("KOKORO_TRANSFER_KEEP") {
        let kept = Path::new(&kept);
        fs::create_dir_all(kept).unwrap();
        fs::rename(&data, kept.join("data")).unwrap();
    }
}
