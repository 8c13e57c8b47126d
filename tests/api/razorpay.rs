//! Razorpay, as far as its documentation describes payment links, payments, invoices and webhooks: on a real socket, in
//! bytes of its own, so that it can also be silent, rude or cut short.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use web::config::{PaymentsConfig, RazorpayKeys, Secret};

pub const KEY_ID: &str = "rzp_test_1DP5mmOlF5G5ag";
pub const KEY_SECRET: &str = "thiskeysecretmustnotbeseen";
pub const WEBHOOK_SECRET: &str = "thiswebhooksecretmustnotbeseen";

/// What it does with the next request. It has done what was asked unless it says `Instead`.
pub enum Mood {
    /// Answers this and does nothing.
    Instead(u16, String),
    /// Answers this, after having done it.
    Saying(String),
    /// Never answers.
    Silent,
    /// Sends half of the answer and hangs up.
    CutShort,
    /// Sends half of the answer and no more.
    Stalled,
    /// Waits for permission before it even looks at it.
    Held(Arc<Notify>),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Heard {
    pub method: String,
    pub target: String,
    pub headers: HashMap<String, String>,
    pub body: Value,
}

#[derive(Default)]
struct State {
    heard: Vec<Heard>,
    moods: VecDeque<Mood>,
    links: Vec<Value>,
    payments: Vec<Value>,
    arrived: Option<mpsc::UnboundedSender<()>>,
}

/// A Razorpay of its own for each test.
pub struct Razorpay {
    pub url: String,
    state: Arc<Mutex<State>>,
    arrivals: mpsc::UnboundedReceiver<()>,
}

impl Razorpay {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let state = Arc::new(Mutex::new(State { arrived: Some(arrived), ..State::default() }));
        let shared = state.clone();
        actix_web::rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                actix_web::rt::spawn(serve(stream, shared.clone()));
            }
        });
        Self { url, state, arrivals }
    }

    /// The settings of an application that knows it.
    pub fn config(&self) -> PaymentsConfig {
        let secret = |text: &str| Secret::of_any_length(text.as_bytes().to_vec());
        PaymentsConfig {
            api: self.url.clone(),
            keys: Some(RazorpayKeys { id: KEY_ID.to_owned(), secret: secret(KEY_SECRET) }),
            webhook_secrets: vec![secret("the one before"), secret(WEBHOOK_SECRET)],
            ..PaymentsConfig::default()
        }
    }

    /// Deals so with the next request that has no mood yet.
    pub fn next(&self, mood: Mood) {
        self.state.lock().unwrap().moods.push_back(mood);
    }

    /// Returns when one more request has come in.
    pub async fn arrival(&mut self) {
        self.arrivals.recv().await.unwrap();
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.state.lock().unwrap().heard.clone()
    }

    pub fn links(&self) -> Vec<Value> {
        self.state.lock().unwrap().links.clone()
    }

    /// Somebody tries to pay a link: the payment exists from here on, in this state. Returns it.
    pub fn pay(&self, link_id: &str, status: &str) -> Value {
        let mut state = self.state.lock().unwrap();
        let number = state.payments.len() + 1;
        let link = state.links.iter_mut().find(|link| link["id"] == link_id).unwrap();
        let order = format!("order_{}", link_id.trim_start_matches("plink_"));
        link["order_id"] = json!(order);
        let id = format!("pay_{number:014}");
        if status == "captured" {
            link["status"] = json!("paid");
            link["payments"] = json!([{"payment_id": id, "plink_id": link_id, "status": "captured"}]);
        }
        let payment = json!({
            "id": id, "entity": "payment", "amount": link["amount"], "currency": "INR", "status": status,
            "order_id": order, "invoice_id": null, "method": "upi", "captured": status == "captured",
            "description": format!("#{}", link_id.trim_start_matches("plink_")), "email": "void@razorpay.com",
            "contact": "+919988998899", "notes": link["notes"], "error_code": null, "created_at": 1_796_000_000,
        });
        state.payments.push(payment.clone());
        payment
    }

    /// Changes a payment or a link.
    pub fn change(&self, id: &str, field: &str, value: Value) {
        let State { links, payments, .. } = &mut *self.state.lock().unwrap();
        let one = links.iter_mut().chain(payments).find(|one| one["id"] == id).unwrap();
        one[field] = value;
    }

    /// An event about a link, a payment or both, as they are now.
    pub fn event(&self, name: &str, ids: &[&str]) -> Value {
        let State { links, payments, .. } = &*self.state.lock().unwrap();
        let mut payload = json!({});
        for one in links.iter().chain(payments).filter(|one| ids.iter().any(|id| one["id"] == *id)) {
            let kind = if one["entity"] == "payment" { "payment" } else { "payment_link" };
            payload[kind] = json!({"entity": one});
            if kind == "payment_link" && name != "payment_link.expired" {
                payload["order"] = json!({"entity": {"id": one["order_id"], "receipt": one["reference_id"]}});
            }
        }
        let contains: Vec<&String> = payload.as_object().unwrap().keys().collect();
        json!({
            "entity": "event", "account_id": "acc_BFQ7uQEaa7j2z7", "event": name, "contains": contains,
            "payload": payload, "created_at": 1_796_000_001,
        })
    }
}

/// What Razorpay writes under a body.
pub fn signature(secret: &str, body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body);
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    while let Some(heard) = read(&mut reader).await {
        let mood = {
            let mut state = state.lock().unwrap();
            state.heard.push(heard.clone());
            let _ = state.arrived.as_ref().unwrap().send(());
            state.moods.pop_front()
        };
        if let Some(Mood::Held(permission)) = &mood {
            permission.notified().await;
        }
        let (status, body) = match &mood {
            Some(Mood::Instead(status, body)) => (*status, body.clone()),
            _ => {
                let (status, body) = answer(&mut state.lock().unwrap(), &heard);
                (status, body.to_string())
            }
        };
        let body = if let Some(Mood::Saying(other)) = &mood { other.clone() } else { body };
        let head = format!(
            "HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\nLocation: /elsewhere\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        match mood {
            Some(Mood::Silent) => return std::future::pending().await,
            Some(Mood::CutShort | Mood::Stalled) => {
                let half = &body.as_bytes()[..body.len() / 2];
                writer.write_all(&[head.as_bytes(), half].concat()).await.unwrap();
                if matches!(mood, Some(Mood::Stalled)) {
                    std::future::pending::<()>().await;
                }
                return;
            }
            Some(Mood::Instead(..) | Mood::Saying(_) | Mood::Held(_)) | None => {
                // The client may have turned away from an answer that is too long.
                if writer.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn read(reader: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Heard> {
    let mut line = String::new();
    reader.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.ok()?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Heard { method, target, headers, body })
}

fn answer(state: &mut State, heard: &Heard) -> (u16, Value) {
    let expected = format!("Basic {}", STANDARD.encode(format!("{KEY_ID}:{KEY_SECRET}")));
    if heard.headers.get("authorization") != Some(&expected) {
        return (401, refusal("Authentication failed"));
    }
    let (path, query) = heard.target.split_once('?').unwrap_or((&heard.target, ""));
    let unknown = || (400, refusal("The id provided does not exist"));
    let found = |one: Option<&Value>| one.map_or_else(unknown, |one| (200, one.clone()));
    match (heard.method.as_str(), path.trim_start_matches("/v1/").split_once('/')) {
        ("POST", Some(("payment_links", ""))) => make(state, &heard.body),
        ("GET", Some(("payment_links", ""))) => {
            let (filter, value) = query.split_once('=').unwrap();
            let fits = |link: &&Value| match filter {
                "payment_id" => link["payments"].to_string().contains(&format!("\"{value}\"")),
                filter => link[filter] == value,
            };
            (200, json!({"payment_links": state.links.iter().filter(fits).collect::<Vec<_>>()}))
        }
        ("GET", Some(("payment_links", id))) => found(state.links.iter().find(|link| link["id"] == id)),
        ("GET", Some(("payments", id))) => found(state.payments.iter().find(|payment| payment["id"] == id)),
        ("GET", Some(("invoices", id))) => {
            (200, json!({"id": id, "entity": "invoice", "short_url": format!("https://rzp.io/i/{id}")}))
        }
        _ => (404, refusal("The requested URL was not found on the server")),
    }
}

fn make(state: &mut State, body: &Value) -> (u16, Value) {
    let reference = body["reference_id"].as_str().unwrap();
    let used: HashSet<&str> = state.links.iter().filter_map(|link| link["reference_id"].as_str()).collect();
    if used.contains(reference) {
        return (400, refusal("payment link creation with reference_id already attempted"));
    }
    assert!(reference.len() <= 40 && body["description"].as_str().unwrap().len() <= 2048);
    let id = format!("plink_{:014}", state.links.len() + 1);
    let link = json!({
        "accept_partial": body["accept_partial"], "amount": body["amount"].as_u64().unwrap(), "amount_paid": 0,
        "callback_method": "", "callback_url": "", "cancelled_at": 0, "created_at": 1_796_000_000, "currency": "INR",
        "customer": {}, "description": body["description"], "expire_by": 0, "expired_at": 0,
        "first_min_partial_amount": 0, "id": id, "notes": body["notes"], "notify": {"email": false, "sms": false},
        "payments": null, "reference_id": reference, "reminder_enable": false, "reminders": [],
        "short_url": format!("https://rzp.io/i/{}", state.links.len() + 1), "status": "created",
        "updated_at": 1_796_000_000, "upi_link": false, "user_id": "",
    });
    state.links.push(link.clone());
    (200, link)
}

/// A refusal as it looks; what it says in words must reach nobody.
pub fn refusal(description: &str) -> Value {
    json!({"error": {
        "code": "BAD_REQUEST_ERROR", "description": format!("canary: {description}"), "source": "business",
        "step": "payment_initiation", "reason": "input_validation_failed", "metadata": {},
    }})
}
