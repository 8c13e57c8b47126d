//! How every answer is dressed for browsers, which pages may call, and what is kept from the public.

use std::num::NonZeroU32;

use reqwest::{Method, RequestBuilder};
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

/// A header, if it is sent.
type Sent<'a> = Option<&'a str>;

/// Whether a state-changing request is taken, by its `Sec-Fetch-Site`, `Origin` and `Host`.
const REQUESTS: [(Sent<'static>, Sent<'static>, &str, bool); 30] = [
    // No browser.
    (None, None, "clinic.test", true),
    // Browsers without Sec-Fetch-Site: over TLS that a proxy ends, and over plain HTTP.
    (None, Some("http://clinic.test"), "clinic.test", true),
    (None, Some("https://clinic.test"), "clinic.test", true),
    (None, Some("http://clinic.test"), "Clinic.Test", true),
    (None, Some("http://clinic.test"), "clinic.test:80", true),
    (None, Some("https://clinic.test"), "clinic.test:443", true),
    (None, Some("http://clinic.test:8080"), "clinic.test:8080", true),
    (None, Some("http://[::1]:8080"), "[::1]:8080", true),
    (None, Some("https://allowed.test"), "clinic.test", true),
    (None, Some("http://allowed.test"), "clinic.test", false),
    (None, Some("https://allowed.test.evil"), "clinic.test", false),
    (None, Some("https://clinic.test"), "clinic.test:80", false),
    (None, Some("http://clinic.test"), "clinic.test:8080", false),
    (None, Some("http://clinic.test:8080"), "clinic.test", false),
    (None, Some("http://clinic.test.evil"), "clinic.test", false),
    (None, Some("http://evil.test"), "clinic.test", false),
    (None, Some("http://evil.test/clinic.test"), "clinic.test", false),
    (None, Some("ftp://clinic.test"), "clinic.test", false),
    (None, Some("clinic.test"), "clinic.test", false),
    (None, Some("null"), "clinic.test", false),
    (None, Some("null"), "null", false),
    (None, Some(""), "clinic.test", false),
    // Other browsers.
    (Some("same-origin"), Some("http://elsewhere.test"), "clinic.test", true),
    (Some("none"), Some("null"), "clinic.test", true),
    (Some("same-site"), Some("https://allowed.test"), "clinic.test", true),
    (Some("same-site"), Some("http://clinic.test"), "clinic.test", false),
    (Some("cross-site"), Some("https://evil.test"), "clinic.test", false),
    (Some("cross-site"), None, "clinic.test", false),
    (Some("of-the-future"), Some("http://clinic.test"), "clinic.test", true),
    (Some("of-the-future"), Some("http://evil.test"), "clinic.test", false),
];

/// Adds these headers to a request, those that are sent.
fn with(request: RequestBuilder, headers: &[(&str, Sent<'_>)]) -> RequestBuilder {
    headers.iter().fold(request, |request, (name, value)| match value {
        Some(value) => request.header(*name, *value),
        None => request,
    })
}

#[actix_web::test]
async fn foreign_page_changes_nothing_unless_its_origin_is_allowed() {
    let mut config = config();
    config.cors.allowed_origins = vec!["https://allowed.test".to_owned()];
    let app = TestApp::start_with(config).await;
    for (site, origin, host, is_taken) in REQUESTS {
        let headers = [("Sec-Fetch-Site", site), ("Origin", origin), ("Host", Some(host))];
        for (method, status) in [
            (Method::POST, 200),
            (Method::PUT, 405),
            (Method::PATCH, 405),
            (Method::DELETE, 405),
            (Method::GET, 405),
            (Method::HEAD, 405),
        ] {
            let expected = if is_taken || method.is_safe() { status } else { 403 };
            let reply = Reply::of(with(app.request(method.clone(), "/auth/logout"), &headers)).await;
            assert_eq!(reply.status, expected, "{method} {headers:?}: {}", reply.body);
            if expected == 403 {
                reply.assert_problem(403, "forbidden");
            }
        }
    }
    app.stop().await;
}

#[actix_web::test]
async fn proxy_that_is_trusted_says_which_host_and_scheme_a_page_has() {
    let mut trusting = config();
    trusting.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    for (config, is_trusted) in [(trusting, true), (config(), false)] {
        let app = TestApp::start_with(config).await;
        for (origin, forwarded_host, scheme, status) in [
            ("https://clinic.test", Some("clinic.test"), Some("https"), if is_trusted { 200 } else { 403 }),
            (
                "https://clinic.test:8443",
                Some("evil.test, clinic.test:8443"),
                None,
                if is_trusted { 200 } else { 403 },
            ),
            ("http://clinic.test", Some("clinic.test"), Some("https"), 403),
            ("https://evil.test", Some("clinic.test"), Some("https"), 403),
            ("https://proxied.test", Some("clinic.test"), Some("https"), if is_trusted { 403 } else { 200 }),
            ("https://proxied.test", None, Some("https"), 200),
            ("http://proxied.test", None, Some("https"), if is_trusted { 403 } else { 200 }),
        ] {
            let headers = [
                ("Host", Some("proxied.test")),
                ("Origin", Some(origin)),
                ("X-Forwarded-Host", forwarded_host),
                ("X-Forwarded-Proto", scheme),
            ];
            let reply = Reply::of(with(app.request(Method::POST, "/auth/logout"), &headers)).await;
            assert_eq!(reply.status, status, "{headers:?}, trusted: {is_trusted}");
        }
        app.stop().await;
    }
}

#[actix_web::test]
async fn admin_address_answers_to_its_own_names_and_to_no_web_page() {
    let mut config = config();
    config.server.admin_listen = Some(([127, 0, 0, 1], 0).into());
    config.server.admin_hosts = vec!["kokoro.internal".to_owned()];
    config.cors.allowed_origins = vec!["https://allowed.test".to_owned()];
    let app = TestApp::start_with(config).await;
    let admin = app.admin_url.clone().unwrap();
    let own = Some(admin.trim_start_matches("http://"));
    let page = Some(admin.as_str());
    for (host, origin, site, refusal) in [
        (own, None, None, None),
        (Some("10.1.2.3:9100"), None, None, None),
        (Some("[2001:db8::1]:9100"), None, None, None),
        (Some("localhost"), None, None, None),
        (Some("LocalHost:9100"), None, Some("none"), None),
        (Some("kokoro.internal:9100"), None, None, None),
        (Some("KOKORO.internal"), None, None, None),
        (Some("evil.test"), None, None, Some(421)),
        (Some("evil.test:9100"), Some("http://evil.test:9100"), Some("same-origin"), Some(421)),
        (Some("kokoro.internal.evil.test"), None, None, Some(421)),
        (Some("127.0.0.1.evil.test"), None, None, Some(421)),
        (Some("localhost@evil.test"), None, None, Some(421)),
        (Some("user@localhost"), None, None, Some(421)),
        (Some(""), None, None, Some(421)),
        (own, Some("http://evil.test"), None, Some(403)),
        (own, Some("null"), None, Some(403)),
        (own, page, Some("same-origin"), Some(403)),
        (own, Some("https://allowed.test"), None, Some(403)),
    ] {
        let headers = [("Host", host), ("Origin", origin), ("Sec-Fetch-Site", site)];
        for path in ["/metrics", "/cluster", "/healthz", "/readyz"] {
            let reply = Reply::of(with(app.client.get(format!("{admin}{path}")), &headers)).await;
            match refusal {
                None => assert_eq!(reply.status, 200, "{path} {headers:?}"),
                Some(403) => reply.assert_problem(403, "forbidden"),
                Some(status) => reply.assert_problem(status, "misdirected_request"),
            }
        }
    }
    app.stop().await;
}

#[actix_web::test]
async fn drain_takes_only_a_body_that_no_form_can_send() {
    let mut config = config();
    config.server.admin_listen = Some(([127, 0, 0, 1], 0).into());
    let app = TestApp::start_with(config).await;
    let url = format!("{}/cluster/drain", app.admin_url.as_ref().unwrap());
    let drain = async |content_type: Sent<'_>, body: &'static str, site: Sent<'_>| {
        let request = app.client.post(&url).body(body);
        Reply::of(with(request, &[("Content-Type", content_type), ("Sec-Fetch-Site", site)])).await
    };
    for form in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        for body in ["{}", "{}=", ""] {
            drain(Some(form), body, None).await.assert_problem(415, "unsupported_media_type");
        }
    }
    drain(None, "", None).await.assert_problem(415, "unsupported_media_type");
    drain(Some("application/json"), "{}", Some("cross-site")).await.assert_problem(403, "forbidden");
    // A node without others has nobody to drain to: `tests/processes` drains one that has.
    drain(Some("application/json"), "{}", None).await.assert_problem(403, "forbidden");
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
