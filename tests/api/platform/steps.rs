//! What a patient and a doctor do, between logging in and logging out.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use futures::future::join;
use reqwest::Method;
use serde_json::json;

use super::{ADA, ASHA, FILE, Person, Walk};
use crate::harness::Reply;
use crate::ollama::{Ollama, messages};
use crate::razorpay::{Razorpay, WEBHOOK_SECRET, signature};

/// A whole picture of one pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
const PDF: &[u8] = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n";
/// The file's name as RFC 8187 spells it in a header.
const NAME_IN_HEADER: &str =
    "%E0%A4%B0%E0%A4%95%E0%A5%8D%E0%A4%A4%20%E0%A4%9C%E0%A4%BE%E0%A4%81%E0%A4%9A.pdf";

pub async fn publish_a_profile(walk: &Walk, asha: &Person<'_>) {
    let pdf = BASE64_STANDARD.encode(PDF);
    let profile = json!({
        "email": ASHA, "description": "Hearts.\nOnly hearts.", "specialization": "Cardiology",
        "experience": "12 years", "fees": 500, "timings": "10 to 4", "licenseNumber": "L-1",
        "registrationId": "R-1", "affiliation": "City Hospital",
        "degreeCertificate": {"filename": "degree.pdf", "base64_content": pdf},
        "govtIdProof": {"filename": "id.pdf", "base64_content": pdf},
        "profilePhoto": {"filename": "me.png", "base64_content": PNG},
    });
    let done = json!({"message": "Doctor profile updated successfully."});
    asha.hears("/doctorsService/completeProfile", profile, done.clone()).await;
    asha.hears("/doctorsService/updateProfile", json!({"email": ASHA, "fees": 700}), done).await;

    // The old client sends nothing at all.
    let path = "/doctorsService/fetchDoctors";
    let reply = walk.app.post_raw(path, None, "application/json", Vec::new()).await;
    let listed = walk.note(path, reply).body;
    let photo = listed["doctors"][0]["profilePhoto"].as_str().unwrap();
    let known = json!({
        "email": ASHA, "doctorname": "Dr. Asha Rao", "location": "Pune", "specialization": "Cardiology",
        "experience": "12 years", "fees": 700, "timings": "10 to 4", "affiliation": "City Hospital",
        "description": "Hearts.\nOnly hearts.", "onboarded": true, "subscriberCount": 0, "subscribers": [],
        "profilePhoto": photo,
    });
    let new = json!({
        "email": "ben@clinic.example", "doctorname": "Dr. Ben", "location": "Pune", "specialization": null,
        "experience": null, "fees": null, "timings": null, "affiliation": null, "description": null,
        "onboarded": false, "subscriberCount": 0, "subscribers": [], "profilePhoto": null,
    });
    assert_eq!(listed, json!({"doctors": [known, new]}));
    let photo = reqwest::get(photo).await.unwrap();
    assert_eq!(
        (photo.status().as_u16(), &photo.headers()["content-type"]),
        (200, &"image/png".parse().unwrap())
    );
    assert_eq!(photo.bytes().await.unwrap(), BASE64_STANDARD.decode(PNG).unwrap());
}

pub async fn subscribe(ada: &Person<'_>) {
    let path = "/doctorsService/subscribe";
    let body = json!({"user_email": ADA, "doctor_email": ASHA});
    let new = format!("User {ADA} successfully subscribed to Doctor {ASHA}");
    ada.hears(path, body.clone(), json!({"message": new})).await;
    ada.hears(path, body, json!({"message": "User is already subscribed to this doctor."})).await;
    let search = json!({"search": "asha", "specialization": "cardiology", "limit": 1});
    let found = ada.post("/doctorsService/fetchDoctors", search).await;
    assert_eq!(found.get("next_cursor"), None);
    let shown = &found["doctors"][0];
    assert_eq!((&shown["subscriberCount"], &shown["subscribers"]), (&json!(1), &json!([null])));
}

pub async fn publish_slots(walk: &Walk, asha: &Person<'_>, date: NaiveDate) {
    let (day, date) = (date.format("%A").to_string(), date.to_string());
    let slots = json!([{"start": "10:00", "end": "11:00"}, {"start": "23:30", "end": "24:00"}]);
    let body = json!({"doctor_id": ASHA, "day": day, "slots": slots});
    let set = json!({"message": format!("Availability for {day} set successfully.")});
    asha.hears("/doctorsService/setSlots", body, set).await;

    let last = json!({"start": "23:30", "end": "24:00"});
    let off = json!({"doctor_id": ASHA, "day": day, "slot": last, "available": false});
    let on = json!({"doctor_id": ASHA, "day": day, "slot": last});
    let free = |start: &str, end: &str| json!({"start": start, "end": end, "booked": 0, "available": true});
    let mut offered = vec![free("10:00", "10:30"), free("10:30", "11:00")];
    let asked = json!({"doctor_id": ASHA, "date": date});
    let (update, available) = ("/doctorsService/updateSlot", "/doctorBookings/available");
    asha.hears(update, off, json!({"message": "Slot disabled successfully"})).await;
    walk.visitor().hears(available, asked.clone(), json!({"slots": offered})).await;
    asha.hears(update, on, json!({"message": "Slot enabled successfully"})).await;
    offered.push(free("23:30", "24:00"));
    walk.visitor().hears(available, asked, json!({"slots": offered})).await;
}

pub async fn book_and_cancel(ada: &Person<'_>, asha: &Person<'_>, date: NaiveDate) {
    let ttl = (date + Days::new(7)).and_time(NaiveTime::MIN).and_utc().timestamp();
    let date = date.to_string();
    let seat = json!({"doctor_id": ASHA, "date": date, "start": "10:00", "user_id": ADA});
    let booking = json!({
        "PK": format!("{ASHA}#{date}"), "SK": format!("10:00#{ADA}"), "doctor_id": ASHA, "date": date,
        "start": "10:00", "user_id": ADA, "ttl": ttl,
    });
    let answer = json!({"message": "Slot booked", "booking": booking});
    ada.hears("/doctorBookings/book", seat.clone(), answer).await;

    let (bookings, none) = (json!({"bookings": [booking]}), json!({"bookings": []}));
    let (own, of_days) = ("/doctorBookings/user", "/doctorBookings/fetchBookings");
    ada.hears(own, json!({"user_id": ADA}), bookings.clone()).await;
    ada.hears(of_days, json!({"id": ADA, "type": "user", "days": 365}), bookings.clone()).await;
    asha.hears(of_days, json!({"id": ASHA, "type": "doctor", "days": 0}), bookings).await;
    let slot = json!({"start": "10:00", "end": "10:30", "booked": 1, "available": true});
    let offered = ada.post("/doctorBookings/available", json!({"doctor_id": ASHA, "date": date})).await;
    assert_eq!(offered["slots"][0], slot);

    ada.hears("/doctorBookings/cancel", seat, json!({"message": "Booking cancelled"})).await;
    ada.hears(own, json!({"user_id": ADA}), none.clone()).await;
    asha.hears(of_days, json!({"id": ASHA, "type": "doctor", "days": 0}), none).await;
}

pub async fn keep_a_file(ada: &Person<'_>) {
    let (fetch, all) = ("/medilocker/fetch", json!({"email": ADA}));
    let metadata = json!({"kind": "रिपोर्ट"});
    let file = json!({"filename": FILE, "content": BASE64_STANDARD.encode(PDF), "metadata": metadata});
    let uploaded = json!({"message": "Files uploaded successfully"});
    ada.hears("/medilocker/upload", json!({"email": ADA, "files": [file]}), uploaded).await;

    let listed = ada.post(fetch, all.clone()).await;
    let uploaded_at = listed["files"][0]["uploaded_at"].as_str().unwrap();
    assert!(uploaded_at.parse::<DateTime<Utc>>().is_ok(), "{uploaded_at}");
    let file = json!({"filename": FILE, "size": PDF.len(), "uploaded_at": uploaded_at, "metadata": metadata});
    assert_eq!(listed, json!({"files": [file]}));

    let named = json!({"email": ADA, "filename": FILE});
    let link = ada.post("/medilocker/download", named.clone()).await;
    assert_eq!(link.as_object().unwrap().len(), 1, "{link}");
    let response = reqwest::get(link["download_url"].as_str().unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let disposition = response.headers()["content-disposition"].to_str().unwrap();
    assert!(disposition.starts_with("attachment;"), "{disposition}");
    assert!(disposition.ends_with(&format!("filename*=UTF-8''{NAME_IN_HEADER}")), "{disposition}");
    assert_eq!(response.bytes().await.unwrap(), PDF);

    ada.hears("/medilocker/delete", named, json!({"message": "File deleted successfully"})).await;
    ada.hears(fetch, all, json!({"message": "No files found", "files": []})).await;
}

pub async fn chat(ada: &Person<'_>, ollama: &mut Ollama) {
    let path = "/chat";
    let ask = |message: &str| json!({"user_id": ADA, "message": message, "language": "hi"});
    let began = ada.walk.app.clock_seconds();
    let answer = json!({"text": "हाँ।"});
    join(ada.hears(path, ask("Is walking good?"), answer), ollama.answer(&["हाँ", "।"])).await;

    ada.walk.app.clock.advance(TimeDelta::seconds(1));
    let stream = ada.call(Method::POST, path, Some(ask("How often?")), "text/event-stream");
    let (stream, asked) = join(stream, ollama.answer(&["रोज़।"])).await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let events = "data: {\"text\":\"रोज़।\"}\n\nevent: done\ndata: {\"text\":\"रोज़।\"}\n\n";
    assert_eq!(stream.body, events);
    assert!(messages(&asked).contains(&("assistant".to_owned(), "हाँ।".to_owned())), "{asked}");

    let exchanges = json!([
        {"timestamp": began, "user_message": "Is walking good?", "bot_message": "हाँ।"},
        {"timestamp": began + 1, "user_message": "How often?", "bot_message": "रोज़।"},
    ]);
    assert_eq!(ada.get("/chat/history/{user_id}").await, json!({"messages": exchanges}));
}

pub async fn pay(ada: &Person<'_>, razorpay: &Razorpay) {
    let path = "/process-payment";
    let made = ada.post(path, json!({"amount": 499.5})).await;
    let link = razorpay.links().remove(0);
    assert_eq!(link["amount"], 49_950);
    let answer = json!({"message": "Payment link created successfully", "payment_link": link["short_url"],
        "payment_link_id": link["id"]});
    assert_eq!(made, answer);

    let payment = razorpay.pay(link["id"].as_str().unwrap(), "authorized");
    let id = payment["id"].as_str().unwrap();
    let stands = |status: &str| {
        json!({"message": "Payment processed", "order_id": payment["order_id"], "payment_id": id,
            "status": status, "invoice_url": null})
    };
    ada.hears(path, json!({"payment_id": id}), stands("authorized")).await;

    // What Razorpay answers lags behind what it has told.
    razorpay.change(id, "status", json!("captured"));
    let event = razorpay.event("payment.captured", &[id]).to_string();
    razorpay.change(id, "status", json!("authorized"));
    let webhook = "/payment/webhook";
    let signed = signature(WEBHOOK_SECRET, event.as_bytes());
    let request = ada.walk.app.request(Method::POST, webhook).header("Content-Type", "application/json");
    let reply = Reply::of(request.header("X-Razorpay-Signature", signed).body(event)).await;
    assert_eq!(ada.walk.note(webhook, reply).body, json!({"message": "Event received"}));
    ada.hears(path, json!({"payment_id": id}), stands("captured")).await;
}
