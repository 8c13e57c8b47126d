//! Moving while it is used, to other names and addresses, and in the middle of a payment.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use persistence::{AccessKeys, DataFolder, EmbeddedDynamo, EmbeddedS3, Endpoint, Where};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::harness::*;
use crate::old_platform;
use crate::razorpay::{KEY_ID, KEY_SECRET, Razorpay, WEBHOOK_SECRET, signature};
use crate::stores::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_an_export_under_load_is_in_it() {
    let (scratch, data) = folder();
    let node = Node::start(&Data::Folder(&data));
    let mut doctors = Vec::new();
    for name in ["asha", "vikram"] {
        doctors.push(node.doctor(name).await);
    }
    let (booked, is_over) = (watch::Sender::new(0), AtomicBool::new(false));
    let patients = join_all((0..8).map(|number| {
        let (node, doctors, booked, is_over) = (&node, &doctors, &booked, &is_over);
        async move {
            let user = format!("patient{number}@example.com");
            let mut acknowledged = Vec::new();
            for turn in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let (day, slot) = (1 + turn / 48 % 14, turn % 48);
                let (date, start) = (date_in(day), format!("{:02}:{:02}", slot / 2, slot % 2 * 30));
                let doctor = &doctors[(turn / 48 / 14) as usize % 2];
                if node.book(doctor, &user, &date, &start).await.0 == 200 {
                    acknowledged.push((Instant::now(), keys(doctor, &user, &date, &start)));
                    booked.send_modify(|booked| *booked += 1);
                }
            }
            acknowledged
        }
    }));
    let (from, to) = (data.clone(), scratch.path().join("export"));
    let exported = async {
        let mut booked = booked.subscribe();
        let enough = timeout(DEADLINE, booked.wait_for(|booked| *booked >= 200)).await;
        drop(enough.expect("nobody books").unwrap());
        let begun = Instant::now();
        let folder = to.clone();
        // So slowly that the scan of bookings lasts while more are made.
        let arguments = move || done(&from, &["export", folder.to_str().unwrap(), "--rate", "1000"]);
        let said = tokio::task::spawn_blocking(arguments).await.unwrap();
        is_over.store(true, Ordering::Relaxed);
        (begun, said)
    };
    let (acknowledged, (begun, said)) = futures::future::join(patients, exported).await;
    assert!(said.contains("was in use"), "{said}");
    let there = scratch.path().join("there");
    assert_eq!(import(&there, &to), summary(&said));
    let moved = Store::left_in(&there).await.bookings().await;
    let acknowledged: Vec<_> = acknowledged.into_iter().flatten().collect();
    let before: BTreeSet<_> =
        acknowledged.iter().filter(|(at, _)| *at < begun).map(|(_, keys)| keys.clone()).collect();
    assert!(before.len() >= 200 && before.is_subset(&moved), "{} of {}", before.len(), moved.len());
    let all: BTreeSet<_> = acknowledged.into_iter().map(|(_, keys)| keys).collect();
    assert!(moved.is_subset(&all) && all.len() > before.len());
    assert_no_slot_above_five(&moved);
}

/// A store at an address, as another machine's would be, under names of its own.
struct Elsewhere {
    rows: EmbeddedDynamo,
    files: EmbeddedS3,
    _scratch: TempDir,
}

impl Elsewhere {
    fn start() -> Self {
        // A tool is told one key for both.
        let scratch = tempfile::tempdir().unwrap();
        let folder = DataFolder::lock(scratch.path()).unwrap();
        let rows = EmbeddedDynamo::start(Where::File(folder.clone())).unwrap();
        Self { rows, files: EmbeddedS3::start(Where::File(folder), None).unwrap(), _scratch: scratch }
    }

    /// A tool over it.
    fn run(&self, data: &Path, arguments: &[&str]) -> std::process::Output {
        self.tool(data, arguments).output().unwrap()
    }

    fn tool(&self, data: &Path, arguments: &[&str]) -> Command {
        let Endpoint::With { address, keys: AccessKeys { id, secret } } = self.files.endpoint() else {
            panic!("no keys")
        };
        let mut command = tool(data, arguments);
        command.env("DYNAMODB_ENDPOINT", self.rows.address()).env("S3_ENDPOINT", address);
        command
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_REGION", "us-east-1");
        command.env("USERS_TABLE", "OtherUsers").env("DOCTORS_TABLE", "OtherDoctors");
        command
            .env("DOCTOR_DOCUMENTS_BUCKET", "other-documents")
            .env("MEDILOCKER_BUCKET", "other-medilocker");
        command
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_at_an_address_under_other_names_takes_everything_and_gives_it_back() {
    let (scratch, data) = folder();
    let store = Opened::at(&data).await;
    old_platform::fill(&store).await;
    drop(store);
    let [first, second] = ["first", "second"].map(|name| scratch.path().join(name));
    let sums = export(&data, &first);
    let elsewhere = Elsewhere::start();
    let nowhere = scratch.path().join("nowhere");
    let output = elsewhere.run(&nowhere, &["import", first.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let moved = summary(&String::from_utf8(output.stdout).unwrap());
    // Doctors' rows name the bucket of their documents: all else is the same.
    let without_doctors = |sums: &[String]| -> Vec<String> {
        sums.iter().filter(|line| !line.starts_with("doctors ")).cloned().collect()
    };
    assert_eq!(without_doctors(&moved), without_doctors(&sums));
    assert_ne!(moved, sums);
    let output = elsewhere.run(&nowhere, &["check", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |name: &str| {
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .filter(|found| found["finding"] == name)
            .map(|found| found["count"].as_u64().unwrap())
            .sum::<u64>()
    };
    // The documents are found where the rows now say that they are.
    let documents = ["document_elsewhere", "document_lost", "document_unnamed", "document_of_nobody"];
    assert_eq!(documents.map(count), [1, 1, 1, 1]);
    assert_eq!(count("password_missing"), 1);

    let output = elsewhere.run(&nowhere, &["export", second.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!nowhere.exists());
    // Back under the old names, it is what it was.
    assert_eq!(import(&scratch.path().join("back"), &second), sums);
}

#[actix_web::test]
async fn a_payment_that_began_here_ends_there() {
    let razorpay = Razorpay::start().await;
    let (scratch, data) = folder();
    let settings = [
        ("RAZORPAY_KEY_ID", KEY_ID),
        ("RAZORPAY_KEY_SECRET", KEY_SECRET),
        ("RAZORPAY_WEBHOOK_SECRET", WEBHOOK_SECRET),
        ("RAZORPAY_API", razorpay.url.as_str()),
    ];
    let node = Node::start_with(&Data::Folder(&data), &settings);
    let token = user_token("ada@x.com");
    let pay = async |node: &Node, body| node.post("/process-payment", Some(&token), &body).await;
    let (status, link) = pay(&node, json!({"amount": 500})).await;
    assert_eq!(status, 200, "{link}");
    let paid = razorpay.pay(link["payment_link_id"].as_str().unwrap(), "captured");
    let payment = paid["id"].as_str().unwrap();
    let here = pay(&node, json!({"payment_id": payment})).await;
    assert_eq!(here.0, 200, "{}", here.1);
    let (status, link) = pay(&node, json!({"amount": 700})).await;
    assert_eq!(status, 200);

    let to = scratch.path().join("export");
    export(&data, &to);
    node.signal("-TERM");
    node.ended().await;
    let there = scratch.path().join("there");
    import(&there, &to);
    let node = Node::start_with(&Data::Folder(&there), &settings);
    assert_eq!(pay(&node, json!({"payment_id": payment})).await, here);
    // The link that was open when the store was moved leads back to its payer: so it was paid by webhook.
    let paid = razorpay.pay(link["payment_link_id"].as_str().unwrap(), "captured");
    let payment = paid["id"].as_str().unwrap();
    let event = razorpay.event("payment.captured", &[payment]);
    let body = event.to_string();
    let sent = reqwest::Client::new()
        .post(format!("{}/payment/webhook", node.url))
        .header("X-Razorpay-Signature", signature(WEBHOOK_SECRET, body.as_bytes()))
        .header("content-type", "application/json")
        .body(body);
    assert_eq!(sent.send().await.unwrap().status().as_u16(), 200);
    let (status, answer) = pay(&node, json!({"payment_id": payment})).await;
    assert_eq!((status, answer["status"].as_str()), (200, Some("captured")), "{answer}");
    let eve = user_token("eve@x.com");
    assert_ne!(node.post("/process-payment", Some(&eve), &json!({"payment_id": payment})).await.0, 200);
}
