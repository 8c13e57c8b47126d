//! The examples of `--demo`, made through the same services as everything else, and a session to try.

use std::net::Ipv4Addr;

use chrono::{Days, NaiveDate, Weekday};
use engine::{Command, DoctorId, SlotSet, SlotSpan};
use persistence::{AccountKind, Accounts, AccountsError, ProfileChange, ProfileText};

use crate::error::ApiError;
use crate::peer::Network;
use crate::services::SignUp;
use crate::state::AppState;

const PASSWORD: &str = "kokoro-demo";
const DOCTORS: [(&str, &str); 3] = [
    ("Dr. Asha Rao", "asha@example.com"),
    ("Dr. Imran Sheikh", "imran@example.com"),
    ("Dr. Kavya Iyer", "kavya@example.com"),
];
/// Specialization, experience, fees, affiliation and description of each.
const PROFILES: [(&str, &str, u32, &str, &str); 3] = [
    ("Cardiology", "12 years", 800, "City Heart Centre", "Hearts, and what keeps them going."),
    ("General medicine", "7 years", 400, "Lakeside Clinic", "For everything that has no name yet."),
    ("Paediatrics", "15 years", 600, "Sunrise Children's Hospital", "Children first, parents right after."),
];
const USERS: [(&str, &str); 2] = [("Ada", "ada@example.com"), ("Ravi", "ravi@example.com")];
const HOURS: [(&str, &str); 2] = [("10:00", "13:00"), ("16:00", "19:00")];

/// Whether the store has the examples already.
pub(crate) async fn has_examples(accounts: &Accounts) -> Result<bool, AccountsError> {
    Ok(accounts.find(AccountKind::Doctor, DOCTORS[0].1).await?.is_some())
}

/// Fills the store with three doctors, their slots and two users; leaves what is there already. Gives a session to
/// paste into a shell.
pub(crate) async fn fill_with_examples(app: &AppState, url: &str) -> Result<String, ApiError> {
    let tomorrow = app.today().checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX);
    for ((name, email), profile) in DOCTORS.into_iter().zip(PROFILES) {
        let is_new = sign_up(app, AccountKind::Doctor, name, email).await?;
        let doctor = DoctorId::parse(email).map_err(ApiError::internal)?;
        if is_new {
            app.profiles.complete(&doctor, change(profile), Vec::new()).await?;
        }
        let view = app.router.view(&doctor, tomorrow).await?;
        if view.slots(&app.clinic, tomorrow, app.now()).next().is_none() {
            publish(app, &doctor).await?;
        }
    }
    for (name, email) in USERS {
        sign_up(app, AccountKind::User, name, email).await?;
    }
    Ok(session(url, tomorrow))
}

fn change(
    (specialization, experience, fees, affiliation, description): (&str, &str, u32, &str, &str),
) -> ProfileChange {
    let texts = [
        (ProfileText::Specialization, specialization),
        (ProfileText::Experience, experience),
        (ProfileText::Timings, "10:00 to 13:00 and 16:00 to 19:00"),
        (ProfileText::Affiliation, affiliation),
        (ProfileText::Description, description),
    ];
    ProfileChange {
        texts: texts.map(|(field, text)| (field, text.to_owned())).into(),
        fees: Some(fees),
        documents: Vec::new(),
    }
}

/// Says whether the account is a new one.
async fn sign_up(app: &AppState, kind: AccountKind, name: &str, email: &str) -> Result<bool, ApiError> {
    let (name, phone) = (("name", name.to_owned()), "+91 98765 43210".to_owned());
    let new = SignUp::check(kind, name, email, PASSWORD.to_owned(), phone, Some("Bengaluru".to_owned()))?;
    match app.accounts.sign_up(new, Network::of(Ipv4Addr::LOCALHOST.into())).await {
        Ok(_) => Ok(true),
        Err(ApiError::EmailTaken(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn publish(app: &AppState, doctor: &DoctorId) -> Result<(), ApiError> {
    let mut offered = SlotSet::EMPTY;
    for (start, end) in HOURS {
        let span = SlotSpan::parse(start, end).map_err(ApiError::internal)?;
        span.slots().for_each(|slot| offered.set(slot, true));
    }
    let mut weekday = Weekday::Mon;
    loop {
        app.router.ask(doctor, Command::SetSlots { weekday, offered }).await?;
        weekday = weekday.succ();
        if weekday == Weekday::Mon {
            return Ok(());
        }
    }
}

fn session(url: &str, tomorrow: NaiveDate) -> String {
    let (_, doctor) = DOCTORS[0];
    let (_, user) = USERS[0];
    let others =
        |people: &[(&str, &str)]| people.iter().map(|(_, email)| *email).collect::<Vec<_>>().join(", ");
    let call = |what: &str, path: &str, options: &str, body: String| {
        format!(
            "# {what}\ncurl -sS {options} -H 'Content-Type: application/json' -d '{body}' {url}{path}; echo\n"
        )
    };
    let seat = format!(r#""doctor_id":"{doctor}","date":"{tomorrow}""#);
    let steps = [
        call(
            "log in; the session cookie goes into kokoro.cookies",
            "/auth/loginUser",
            "-c kokoro.cookies",
            format!(r#"{{"email":"{user}","password":"{PASSWORD}"}}"#),
        ),
        call(
            &format!("what is free tomorrow, a {}", tomorrow.format("%A")),
            "/doctorBookings/available",
            "",
            format!("{{{seat}}}"),
        ),
        call(
            "book; the key makes a repeat answer the same",
            "/doctorBookings/book",
            "-b kokoro.cookies -H 'Idempotency-Key: demo-1'",
            format!(r#"{{{seat},"start":"10:00"}}"#),
        ),
        call("show it", "/doctorBookings/user", "-b kokoro.cookies", format!(r#"{{"user_id":"{user}"}}"#)),
    ];
    format!(
        "Doctors: {}. Users: {}. Everybody's password is {PASSWORD}.\nPaste this into a shell:\n\n{}",
        others(&DOCTORS),
        others(&USERS),
        steps.join("\n").replace("curl -sS  ", "curl -sS ")
    )
}
