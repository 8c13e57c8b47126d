//! The document that describes the API, and the page that shows it.

use reqwest::Method;
use serde_json::Value;

use crate::harness::{Reply, TestApp};

async fn document(app: &TestApp) -> Value {
    let reply = Reply::of(app.request(Method::GET, "/openapi.json")).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
    reply.body
}

#[actix_web::test]
async fn the_document_is_of_openapi_3_1() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    assert_eq!(document["openapi"], "3.1.0");
    app.stop().await;
}
