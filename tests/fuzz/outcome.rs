//! What an answer may be: what the program's own document says.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::Value;

use crate::harness::{Reply, TestApp};
use crate::json::CANARY;

/// The statuses that the document gives each call.
pub(crate) struct Document(BTreeMap<String, Vec<String>>);

impl Document {
    pub(crate) async fn of(app: &TestApp) -> Self {
        let document = Reply::of(app.request(Method::GET, "/openapi.json")).await.body;
        let mut statuses = BTreeMap::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let answers = operation["responses"].as_object().unwrap().keys().cloned().collect();
                statuses.insert(format!("{method} {path}"), answers);
            }
        }
        Self(statuses)
    }

    /// Every path that is posted to.
    pub(crate) fn posted(&self) -> Vec<&str> {
        self.0.keys().filter_map(|place| place.strip_prefix("post ")).collect()
    }

    /// Why this is no answer to that call.
    pub(crate) fn complaint(&self, path: &str, reply: &Reply) -> Option<String> {
        let Some(statuses) = self.0.get(&format!("post {path}")) else {
            return Some(format!("{path} is not in the document"));
        };
        if !statuses.contains(&reply.status.to_string()) {
            return Some(format!("status {} is not in the document", reply.status));
        }
        if reply.status >= 500 {
            return Some(format!("status {}", reply.status));
        }
        if reply.status == 200 {
            return (!reply.body.is_object()).then(|| "a success that is no object".to_owned());
        }
        problem(reply)
    }
}

/// Why this is no problem as API.md has them.
pub(crate) fn problem(reply: &Reply) -> Option<String> {
    let body = &reply.body;
    if reply.header("content-type") != "application/problem+json" {
        return Some(format!("content type {:?}", reply.header("content-type")));
    }
    for field in ["type", "title", "detail", "code"] {
        if body[field].as_str().is_none_or(str::is_empty) {
            return Some(format!("no {field}"));
        }
    }
    let is_named = body["request_id"].as_str() == Some(reply.header("x-request-id"));
    if body["status"] != reply.status || !is_named {
        return Some("its status or request id is not that of the answer".to_owned());
    }
    let told = Value::to_string(body).to_lowercase();
    told.contains(CANARY).then(|| "it repeats what was sent".to_owned())
}
