//! `Users` and `Doctors`.

#![expect(clippy::too_many_lines, reason = "a table, whose entries are read one by one")]

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use super::left::{no, null, yes};
use super::{ADA, ASHA, PASSWORD, Trap, World, hash, step};
use crate::harness::*;
use crate::old_platform::{DOCUMENTS, account};
use crate::stores::*;

/// A whole picture of one pixel, and the beginning of a paper.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
const PDF: &str = "JVBERi0xLjQKJSVFT0YK";

/// What a doctor has said nothing of is NULL once the profile is complete.
pub fn no_profile() -> Vec<(&'static str, Option<AttributeValue>)> {
    let names = [
        "description",
        "specialization",
        "experience",
        "fees",
        "timings",
        "licenseNumber",
        "registrationId",
        "affiliation",
    ];
    names.map(|name| (name, Some(null()))).to_vec()
}

fn list(names: &[&str]) -> AttributeValue {
    AttributeValue::L(names.iter().map(|name| s(name)).collect())
}

async fn person(store: &Opened, table: &str, email: &str, more: &[(&str, Option<AttributeValue>)]) {
    let password = [("password", Some(s(&hash(PASSWORD))))];
    account(store, table, email, &[&password[..], more].concat()).await;
}

async fn subscribe(world: &World, user: &str, doctor: &str) {
    let body = json!({"user_email": user, "doctor_email": doctor});
    let answer = world.user(user, "/doctorsService/subscribe", body).await;
    assert_eq!(answer["message"], format!("User {user} successfully subscribed to Doctor {doctor}"));
}

async fn signs_up(world: &World, email: &str) -> u16 {
    let body = json!({"username": "Eve", "email": email, "password": PASSWORD, "phoneNumber": "12345"});
    world.node.post("/auth/signupUser", None, &body).await.0
}

pub fn traps() -> Vec<Trap> {
    [users(), doctors()].into_iter().flatten().collect()
}

/// Passwords that sign-up would not take today; what bcrypt saw of the last two is the same.
fn passwords() -> [(&'static str, String); 5] {
    let long = "x".repeat(72);
    [
        ("none@x.com", String::new()),
        ("short@x.com", "pw".to_owned()),
        ("script@x.com", "पासवर्ड".to_owned()),
        ("long@x.com", format!("{long}tail")),
        ("longest@x.com", "y".repeat(5_000)),
    ]
}

fn users() -> Vec<Trap> {
    let place = "Users";
    vec![
        Trap {
            place,
            says: "`location` (string or NULL)",
            put: step(async |store: &Opened| {
                person(store, "Users", "pune@x.com", &[("location", Some(s("Pune")))]).await;
            }),
            counted: vec![],
            served: step(async |world: &World| {
                for email in [ADA, "pune@x.com"] {
                    assert_eq!(world.log_in("User", email, PASSWORD).await, 200);
                    subscribe(world, email, ASHA).await;
                }
                assert_eq!(signs_up(world, "eve@x.com").await, 200);
            }),
            left: |left| {
                assert_eq!(left.row("Users", ADA)["location"], null());
                assert_eq!(left.row("Users", "pune@x.com")["location"], s("Pune"));
                assert_eq!(left.row("Users", "eve@x.com")["location"], null());
                assert_eq!(left.row("Users", "eve@x.com")["emailVerified"], no());
            },
        },
        Trap {
            place,
            says: "`subscribed_doctors` (list of strings, absent until the first)",
            put: step(async |store: &Opened| {
                let of_another = [("subscribed_doctors", Some(list(&["gone@x.com"])))];
                person(store, "Users", "bob@x.com", &of_another).await;
            }),
            counted: vec![],
            served: step(async |world: &World| {
                subscribe(world, ADA, ASHA).await;
                subscribe(world, "bob@x.com", ASHA).await;
                assert_eq!(world.profile(ASHA).await["subscriberCount"], 2);
            }),
            left: |left| {
                assert_eq!(left.row("Users", ADA)["subscribed_doctors"], list(&[ASHA]));
                assert_eq!(left.row("Users", "bob@x.com")["subscribed_doctors"], list(&["gone@x.com", ASHA]));
                assert_eq!(left.row("Doctors", ASHA)["subscribers"], list(&[ADA, "bob@x.com"]));
            },
        },
        Trap {
            place,
            says: "case of `email` as typed before the `@`",
            put: step(async |store: &Opened| person(store, "Users", "Eve.Mc@x.com", &[]).await),
            counted: vec![("address_with_capitals", 1)],
            served: step(async |world: &World| {
                // The old platform put the part behind the '@' in small letters, whoever typed it.
                for typed in ["Eve.Mc@x.com", "Eve.Mc@X.COM"] {
                    assert_eq!(world.log_in("User", typed, PASSWORD).await, 200, "{typed}");
                    assert_eq!(signs_up(world, typed).await, 409, "{typed}");
                }
                assert_eq!(world.log_in("User", "eve.mc@x.com", PASSWORD).await, 401);
                assert_eq!(world.books(ASHA, "Eve.Mc@x.com", "09:00").await.0, 200);
                assert_eq!(world.bookings("Eve.Mc@x.com").await, [(date_in(3), "09:00".to_owned())]);
            }),
            left: |left| {
                let of_date = format!("{ASHA}#{}", date_in(3));
                assert_eq!(left.sorts("DoctorBookingsTable", &of_date), ["09:00#Eve.Mc@x.com"]);
                assert!(!left.has_row("Users", "eve.mc@x.com"));
            },
        },
        Trap {
            place,
            says: "passwords of any length, bcrypt ignores what is past 72 bytes",
            put: step(async |store: &Opened| {
                for (email, password) in passwords() {
                    account(store, "Users", email, &[("password", Some(s(&hash(&password))))]).await;
                }
            }),
            counted: vec![],
            served: step(async |world: &World| {
                for (email, password) in passwords() {
                    assert_eq!(world.log_in("User", email, &password).await, 200, "{email}");
                    assert_eq!(world.log_in("User", email, &format!("z{password}")).await, 401, "{email}");
                }
                let other_tail = format!("{}another", "x".repeat(72));
                assert_eq!(world.log_in("User", "long@x.com", &other_tail).await, 200);
            }),
            left: |left| {
                for (email, password) in passwords() {
                    let stored = left.row("Users", email)["password"].as_s().unwrap();
                    let seen = &password.as_bytes()[..password.len().min(72)];
                    assert!(
                        stored.starts_with("$2b$12$") && bcrypt::verify(seen, stored).unwrap(),
                        "{email}"
                    );
                }
            },
        },
    ]
}

fn profile() -> Value {
    json!({"email": "new@x.com", "description": "Hearts.", "specialization": "Cardiology", "experience": 12,
        "fees": 500, "timings": "10 to 4", "licenseNumber": "L-1", "registrationId": "R-1",
        "affiliation": "City Hospital", "profilePhoto": {"filename": "me & you.png", "base64_content": PNG},
        "degreeCertificate": {"filename": "degree.pdf", "base64_content": PDF},
        "govtIdProof": {"filename": "id.pdf", "base64_content": PDF}})
}

fn doctors() -> Vec<Trap> {
    let place = "Doctors";
    vec![
        Trap {
            place,
            says: "`email`, `doctorname`, ..., `onboarded`; after onboarding ...",
            put: step(async |store: &Opened| {
                person(store, "Doctors", "new@x.com", &[("onboarded", Some(no()))]).await;
                person(store, "Doctors", "terse@x.com", &[("onboarded", Some(no()))]).await;
            }),
            counted: vec![],
            served: step(async |world: &World| {
                let shown = world.profile("new@x.com").await;
                assert_eq!((&shown["onboarded"], &shown["fees"]), (&json!(false), &Value::Null));
                assert_eq!(world.log_in("Doctor", "new@x.com", PASSWORD).await, 200);
                world.doctor("new@x.com", "/doctorsService/completeProfile", profile()).await;
                assert_eq!(world.profile("new@x.com").await["experience"], "12");
                let one = json!({"email": "terse@x.com", "fees": 300});
                world.doctor("terse@x.com", "/doctorsService/completeProfile", one).await;
            }),
            left: |left| {
                let row = left.row("Doctors", "new@x.com");
                assert_eq!((&row["experience"], &row["fees"]), (&s("12"), &n(500)));
                // What lies behind the host is the object's key, as it stands.
                for kind in ["profilePhoto", "degreeCertificate", "govtIdProof"] {
                    let key = row[kind].as_s().unwrap().strip_prefix(DOCUMENTS).unwrap();
                    assert!(left.object("kokoro-doctor-documents", key).is_some(), "{key}");
                }
                assert!(row["profilePhoto"].as_s().unwrap().ends_with("/me%20%26%20you.png"));
                assert_eq!(row["onboarded"], yes());
                let terse = left.row("Doctors", "terse@x.com");
                assert_eq!((&terse["fees"], &terse["timings"]), (&n(300), &null()));
            },
        },
        Trap {
            place,
            says: "each a value or NULL",
            put: step(async |_: &Opened| {}),
            counted: vec![],
            served: step(async |world: &World| {
                let shown = world.profile(ASHA).await;
                for name in ["description", "specialization", "experience", "fees", "timings", "affiliation"]
                {
                    assert_eq!(shown[name], Value::Null, "{name}");
                }
                let one = json!({"email": ASHA, "timings": "10 to 4"});
                world.doctor(ASHA, "/doctorsService/updateProfile", one).await;
                assert_eq!(world.profile(ASHA).await["timings"], "10 to 4");
            }),
            left: |left| {
                let row = left.row("Doctors", ASHA);
                assert_eq!((&row["timings"], &row["fees"]), (&s("10 to 4"), &null()));
                assert_eq!(row["description"], null());
            },
        },
        Trap {
            place,
            says: "`experience` (string), `fees` (number)",
            put: step(async |store: &Opened| {
                let said = [("experience", Some(s("12 years"))), ("fees", Some(n(500)))];
                let onboarded = [("onboarded", Some(yes()))];
                person(store, "Doctors", "old@x.com", &[&onboarded[..], &no_profile(), &said].concat()).await;
            }),
            counted: vec![],
            served: step(async |world: &World| {
                let shown = world.profile("old@x.com").await;
                assert_eq!((&shown["experience"], &shown["fees"]), (&json!("12 years"), &json!(500)));
                let one = json!({"email": "old@x.com", "fees": 600});
                world.doctor("old@x.com", "/doctorsService/updateProfile", one).await;
            }),
            left: |left| {
                let row = left.row("Doctors", "old@x.com");
                assert_eq!((&row["experience"], &row["fees"]), (&s("12 years"), &n(600)));
            },
        },
        Trap {
            place,
            says: "`subscribers` (list of strings)",
            put: step(async |store: &Opened| {
                let known =
                    [("subscribers", Some(list(&["b@x.com", "a@x.com"]))), ("onboarded", Some(yes()))];
                person(store, "Doctors", "old@x.com", &[&known[..], &no_profile()].concat()).await;
            }),
            counted: vec![],
            served: step(async |world: &World| {
                let shown = world.profile("old@x.com").await;
                assert_eq!(
                    (&shown["subscriberCount"], &shown["subscribers"]),
                    (&json!(2), &json!([null, null]))
                );
                subscribe(world, ADA, "old@x.com").await;
            }),
            left: |left| {
                let expected = list(&["b@x.com", "a@x.com", ADA]);
                assert_eq!(left.row("Doctors", "old@x.com")["subscribers"], expected);
            },
        },
    ]
}

/// The documents of a doctor: what is behind the link is what was put there.
pub fn documents() -> Vec<Trap> {
    vec![Trap {
        place: "kokoro-doctor-documents",
        says: "the name in the URL is percent-encoded once, and that encoded text is the object's key",
        put: step(async |store: &Opened| {
            let key = |kind: &str| format!("doctors/old@x.com/{kind}/it%27s%20me%20%231.png");
            for kind in ["profilePhoto", "govtIdProof"] {
                store.put_file("kokoro-doctor-documents", &key(kind), kind.as_bytes(), &[]).await;
            }
            let urls = ["profilePhoto", "govtIdProof"]
                .map(|kind| (kind, Some(s(&(DOCUMENTS.to_owned() + &key(kind))))));
            let onboarded = [("onboarded", Some(yes()))];
            person(store, "Doctors", "old@x.com", &[&onboarded[..], &no_profile(), &urls].concat()).await;
        }),
        counted: vec![],
        served: step(async |world: &World| {
            let link = world.profile("old@x.com").await["profilePhoto"].as_str().unwrap().to_owned();
            let answer = reqwest::get(link).await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.bytes().await.unwrap(), "profilePhoto");
            let paper = json!({"filename": "id.pdf", "base64_content": PDF});
            let one = json!({"email": "old@x.com", "govtIdProof": paper});
            world.doctor("old@x.com", "/doctorsService/updateProfile", one).await;
        }),
        left: |left| {
            let bucket = "kokoro-doctor-documents";
            assert!(left.object(bucket, "doctors/old@x.com/profilePhoto/it%27s%20me%20%231.png").is_some());
            assert!(left.object(bucket, "doctors/old@x.com/govtIdProof/it%27s%20me%20%231.png").is_none());
            let url = left.row("Doctors", "old@x.com")["govtIdProof"].as_s().unwrap();
            assert!(left.object(bucket, url.strip_prefix(DOCUMENTS).unwrap()).is_some());
        },
    }]
}
