//! An application with everything behind it, and every call with a body that would do.

use actix_web::rt::task::JoinHandle;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use ring::hmac;
use serde_json::{Value, json};
use web::config::{AssistantConfig, AuthConfig, Config, Secret};

use crate::harness::{PASSWORD, Reply, TestApp, TestUser, config};
use crate::log;
use crate::ollama::Ollama;
use crate::outcome::Document;
use crate::razorpay::{Razorpay, WEBHOOK_SECRET, signature};

/// What tokens are signed with, so that a test can sign what the program never would.
pub(crate) const TOKEN_SECRET: &[u8] = b"a secret that everybody may know, being a test's";

/// The application and its people.
pub(crate) struct World {
    pub(crate) app: TestApp,
    pub(crate) ada: TestUser,
    pub(crate) asha: TestUser,
    pub(crate) document: Document,
    _razorpay: Razorpay,
    answering: JoinHandle<()>,
}

/// One way to call.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) path: &'static str,
    pub(crate) token: Option<String>,
    pub(crate) body: Value,
}

/// A token with these parts, signed as the program signs.
pub(crate) fn token(header: &Value, claims: &Value) -> String {
    let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = parts.join(".");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, TOKEN_SECRET), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

impl World {
    /// Starts it, with a doctor who has free slots, a booking, a file and a payment link.
    pub(crate) async fn start() -> Self {
        log::listen();
        let (razorpay, mut ollama) = (Razorpay::start().await, Ollama::start().await);
        let assistant = AssistantConfig { api: Some(ollama.url.clone()), ..AssistantConfig::default() };
        let answering = actix_web::rt::spawn(async move {
            loop {
                ollama.answer(&["Walk ", "daily."]).await;
            }
        });
        let usual = config();
        let secret = Secret::new(TOKEN_SECRET.to_vec()).map(Into::into);
        // Guesses are not slowed: what is sent is looked at, whatever came before it.
        let auth = AuthConfig { secret, throttle: None, ..usual.auth };
        let app = TestApp::start_with(Config { auth, assistant, payments: razorpay.config(), ..usual }).await;
        let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
        let document = Document::of(&app).await;
        let world = Self { app, ada, asha, document, _razorpay: razorpay, answering };
        for path in ["/doctorBookings/book", "/medilocker/upload", "/process-payment"] {
            let call = world.calls().into_iter().find(|call| call.path == path).unwrap();
            assert_eq!(world.app.post(path, call.token.as_deref(), &call.body).await.0, 200, "{path}");
        }
        world
    }

    /// Every call that takes a body.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let (ada, asha) = (self.ada.email.as_str(), self.asha.email.as_str());
        let slot = json!({"start": "10:00", "end": "10:30"});
        let seat = json!({"doctor_id": asha, "date": "2026-11-24", "start": "10:00", "user_id": ada});
        let file = json!({"filename": "a.txt", "content": "YQ==", "metadata": {"kind": "x-ray"}});
        let photo = json!({"filename": "me.png", "base64_content": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="});
        let newcomer = |name: &str| json!({name: "New", "email": "new@example.com", "password": PASSWORD, "phoneNumber": "12345", "location": "Pune"});
        let log_in = |email: &str| json!({"email": email, "password": PASSWORD});
        let profile = json!({"email": asha, "description": "d", "specialization": "s", "experience": "e", "fees": 500,
            "timings": "t", "licenseNumber": "l", "registrationId": "r", "affiliation": "a", "profilePhoto": photo});
        let event = json!({"entity": "event", "event": "payment_link.paid", "contains": ["payment_link"],
            "payload": {"payment_link": {"entity": {"id": "plink_00000000000001", "status": "paid", "amount": 49950,
            "currency": "INR", "reference_id": "kokoro_00000000000000000000000000000001", "order_id": null}}}});
        let call = |who: &Option<&TestUser>, path, body| Call {
            path,
            token: who.map(|who| who.token.clone()),
            body,
        };
        let (user, doctor, nobody) = (Some(&self.ada), Some(&self.asha), None);
        vec![
            call(&nobody, "/auth/signupUser", newcomer("username")),
            call(&nobody, "/auth/signupDoctor", newcomer("doctorname")),
            call(&nobody, "/auth/user/signup", newcomer("username")),
            call(&nobody, "/auth/doctor/signup", newcomer("doctorname")),
            call(&nobody, "/auth/loginUser", log_in(ada)),
            call(&nobody, "/auth/loginDoctor", log_in(asha)),
            call(&nobody, "/auth/user/login", log_in(ada)),
            call(&nobody, "/auth/doctor/login", log_in(asha)),
            call(&user, "/auth/logout", json!({})),
            call(&nobody, "/cluster/drain", json!({})),
            call(&doctor, "/doctorsService/completeProfile", profile.clone()),
            call(&doctor, "/doctorsService/updateProfile", profile),
            call(
                &nobody,
                "/doctorsService/fetchDoctors",
                json!({"specialization": "s", "search": "a", "limit": 2, "cursor": "YQ"}),
            ),
            call(&user, "/doctorsService/subscribe", json!({"user_email": ada, "doctor_email": asha})),
            call(
                &doctor,
                "/doctorsService/setSlots",
                json!({"doctor_id": asha, "day": "Friday", "slots": [slot, {"start": "11:00", "end": "13:00"}]}),
            ),
            call(
                &doctor,
                "/doctorsService/updateSlot",
                json!({"doctor_id": asha, "day": "Friday", "slot": slot, "available": true}),
            ),
            call(&user, "/doctorBookings/book", seat.clone()),
            call(&user, "/doctorBookings/cancel", seat.clone()),
            call(&doctor, "/doctorBookings/cancel", seat),
            call(&nobody, "/doctorBookings/available", json!({"doctor_id": asha, "date": "2026-11-24"})),
            call(&user, "/doctorBookings/user", json!({"user_id": ada})),
            call(&user, "/doctorBookings/fetchBookings", json!({"id": ada, "type": "user", "days": 7})),
            call(&doctor, "/doctorBookings/fetchBookings", json!({"id": asha, "type": "doctor", "days": 7})),
            call(&user, "/medilocker/upload", json!({"email": ada, "files": [file]})),
            call(&user, "/medilocker/fetch", json!({"email": ada})),
            call(&user, "/medilocker/download", json!({"email": ada, "filename": "a.txt"})),
            call(&user, "/medilocker/delete", json!({"email": ada, "filename": "a.txt"})),
            call(&user, "/chat", json!({"user_id": ada, "message": "Is it good to walk?", "language": "hi"})),
            call(&nobody, "/chat", json!({"user_id": "dummy_user@gmail.com", "message": "Is it?"})),
            call(&user, "/process-payment", json!({"amount": 499.5})),
            call(&doctor, "/process-payment", json!({"payment_id": "plink_00000000000001"})),
            call(&nobody, "/payment/webhook", event),
            call(
                &user,
                "/audit/mine",
                json!({"limit": 5, "cursor": "2026-11-23T04:30:00.000Z#0123456789abcdef0123456789abcdef"}),
            ),
        ]
    }

    /// Somebody with a token, whether there is such an account or not.
    pub(crate) fn somebody(&self, email: &str, role: &str) -> TestUser {
        let now = self.app.clock_seconds();
        let claims = json!({"sub": email, "role": role, "iat": now, "exp": now + 3_600});
        TestUser { email: email.to_owned(), token: token(&json!({"alg": "HS256", "typ": "JWT"}), &claims) }
    }

    /// Sends a body as it is. What Razorpay alone may send bears its signature.
    pub(crate) async fn send(&self, call: &Call, content_type: &str, body: Vec<u8>) -> Reply {
        let request = self.app.request(Method::POST, call.path).header("Content-Type", content_type);
        let request = match &call.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let request = match call.path {
            "/payment/webhook" => request.header("X-Razorpay-Signature", signature(WEBHOOK_SECRET, &body)),
            _ => request,
        };
        Reply::of(request.body(body)).await
    }

    /// Shows that it is as well as ever, and stops it.
    pub(crate) async fn stop(self) {
        let grace = self.app.user("grace").await;
        assert_eq!(self.app.available(&self.asha, "2026-11-24").await.0, 200);
        let doctor = self.app.doctor("nora").await;
        assert_eq!(self.app.as_user(&grace).book(&doctor, "2026-11-24", "10:00").await.0, 200);
        assert_eq!(Reply::of(self.app.request(Method::GET, "/readyz")).await.status, 200);
        self.answering.abort();
        self.app.stop().await;
        log::assert_discreet();
    }
}
