//! How every answer is dressed for browsers, which pages may call, and what is kept from the public.

use std::num::NonZeroU32;

use reqwest::Method;
use serde_json::json;

use crate::harness::{Reply, TestApp, config};

const ALWAYS: [(&str, &str); 6] = [
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(self), microphone=(self), geolocation=(self), payment=(self)"),
];

#[actix_web::test]
async fn every_kind_of_answer_tells_browsers_to_guess_run_and_frame_nothing() {
    let mut config = config();
    config.cors.allowed_origins = vec!["https://clinic.example".to_owned()];
    config.limits.per_minute = NonZeroU32::new(8);
    let app = TestApp::start_with(config).await;
    let long = "a".repeat(17_000);
    for (status, request) in [
        (200, app.request(Method::GET, "/healthz")),
        (200, app.request(Method::POST, "/auth/logout")),
        (404, app.request(Method::GET, "/nowhere")),
        (405, app.request(Method::GET, "/auth/logout")),
        (401, app.request(Method::POST, "/doctorBookings/book")),
        (415, app.request(Method::POST, "/doctorBookings/available").body("{}")),
        (431, app.request(Method::GET, "/nowhere").header("X-Padding", long)),
        (
            200,
            app.request(Method::OPTIONS, "/auth/logout")
                .header("Origin", "https://clinic.example")
                .header("Access-Control-Request-Method", "POST"),
        ),
        (404, app.request(Method::GET, "/nowhere")),
        (404, app.request(Method::GET, "/nowhere")),
        (429, app.request(Method::GET, "/nowhere")),
    ] {
        let reply = Reply::of(request).await;
        assert_eq!(reply.status, status, "{}", reply.body);
        for (name, value) in ALWAYS {
            assert_eq!(reply.header(name), value, "{name} of {status}");
        }
        assert_eq!(reply.header("strict-transport-security"), "", "not over plain HTTP");
        assert_eq!(reply.header("cache-control"), "no-store", "{status}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn the_page_of_the_documentation_keeps_the_policy_that_lets_it_work() {
    let app = TestApp::start().await;
    let docs = Reply::of(app.request(Method::GET, "/docs/")).await;
    assert!(docs.header("content-security-policy").contains("script-src 'self'"));
    assert_eq!(docs.header("x-content-type-options"), "nosniff");
    app.stop().await;
}

#[actix_web::test]
async fn browsers_stay_with_tls_where_a_trusted_proxy_offers_it() {
    let mut config = config();
    config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let app = TestApp::start_with(config).await;
    let ask = async |scheme| {
        Reply::of(app.request(Method::GET, "/healthz").header("X-Forwarded-Proto", scheme)).await
    };
    assert_eq!(ask("https").await.header("strict-transport-security"), "max-age=31536000");
    assert_eq!(ask("http").await.header("strict-transport-security"), "");
    app.stop().await;
}

#[actix_web::test]
async fn a_page_of_another_origin_calls_only_if_it_is_named() {
    let mut config = config();
    config.cors.allowed_origins = vec!["https://clinic.example".to_owned()];
    let app = TestApp::start_with(config).await;
    let log_out = async |site: &str, origin: &str| {
        let request = app.request(Method::POST, "/auth/logout");
        Reply::of(request.header("Sec-Fetch-Site", site).header("Origin", origin)).await
    };
    for site in ["cross-site", "same-site"] {
        for origin in ["https://evil.example", "null", "https://clinic.example.evil"] {
            log_out(site, origin).await.assert_problem(403, "forbidden");
        }
        assert_eq!(log_out(site, "https://clinic.example").await.status, 200);
    }
    assert_eq!(log_out("same-origin", &app.url).await.status, 200);
    let no_browser = Reply::of(app.request(Method::POST, "/auth/logout")).await;
    assert_eq!(no_browser.status, 200);
    app.stop().await;
}

#[actix_web::test]
async fn metrics_have_an_address_of_their_own_where_one_is_set() {
    let open = TestApp::start().await;
    assert_eq!(Reply::of(open.request(Method::GET, "/metrics")).await.status, 200);
    assert_eq!(open.admin_url, None);
    open.stop().await;

    let mut config = config();
    config.server.admin_listen = Some(([127, 0, 0, 1], 0).into());
    let app = TestApp::start_with(config).await;
    let admin = app.admin_url.clone().unwrap();
    Reply::of(app.request(Method::GET, "/metrics")).await.assert_problem(404, "not_found");
    let metrics = Reply::of(app.client.get(format!("{admin}/metrics"))).await;
    assert_eq!((metrics.status, metrics.header("x-content-type-options")), (200, "nosniff"));
    for url in [&app.url, &admin] {
        for path in ["/healthz", "/readyz"] {
            assert_eq!(Reply::of(app.client.get(format!("{url}{path}"))).await.status, 200);
        }
    }
    let call = app.client.post(format!("{admin}/auth/loginUser")).json(&json!({}));
    Reply::of(call).await.assert_problem(404, "not_found");
    let client = app.client.clone();
    app.stop().await;
    assert!(client.get(format!("{admin}/healthz")).send().await.is_err(), "it has stopped as well");
}
