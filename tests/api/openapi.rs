//! The document that describes the API, and the page that shows it.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::Method;
use serde_json::{Map, Value};

use crate::harness::{Reply, TestApp};

/// The document, and how to find one's way in it.
struct Document(Value);

impl Document {
    async fn of(app: &TestApp) -> Self {
        let reply = Reply::of(app.request(Method::GET, "/openapi.json")).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
        Self(reply.body)
    }

    fn paths(&self) -> BTreeSet<String> {
        object(&self.0["paths"]).keys().cloned().collect()
    }

    /// Every operation, with its method and path.
    fn operations(&self) -> impl Iterator<Item = (String, &Value)> {
        object(&self.0["paths"]).iter().flat_map(|(path, item)| {
            object(item).iter().map(move |(method, operation)| (format!("{method} {path}"), operation))
        })
    }

    /// What is meant: the value itself, or the component that it refers to.
    fn meant<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value["$ref"].as_str() else { return value };
        let meant = self.0.pointer(reference.strip_prefix('#').unwrap());
        self.meant(meant.unwrap_or_else(|| panic!("{reference} leads nowhere")))
    }

    /// The fields of an object that a schema knows, and those that it demands.
    fn fields(&self, schema: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
        let schema = self.meant(schema);
        let known = schema["properties"].as_object().into_iter().flat_map(Map::keys).cloned();
        let demanded = schema["required"].as_array().into_iter().flatten();
        let demanded = demanded.map(|name| name.as_str().unwrap().to_owned());
        let (mut known, mut demanded): (BTreeSet<_>, BTreeSet<_>) = (known.collect(), demanded.collect());
        for part in schema["allOf"].as_array().into_iter().flatten() {
            let (more_known, more_demanded) = self.fields(part);
            known.extend(more_known);
            demanded.extend(more_demanded);
        }
        (known, demanded)
    }

    /// Shows that a body has an example with all the fields that it must have and none that nobody knows.
    fn assert_example(&self, content: &Value, place: &str) {
        let schema = self.meant(&content["schema"]);
        let examples: Vec<&Value> = match content["examples"].as_object() {
            Some(named) => named.values().map(|example| &example["value"]).collect(),
            None => content
                .get("example")
                .or_else(|| schema["examples"].as_array()?.first())
                .into_iter()
                .collect(),
        };
        assert!(!examples.is_empty(), "{place} has no example");
        let (known, demanded) = self.fields(schema);
        for example in examples {
            let given: BTreeSet<String> = object(example).keys().cloned().collect();
            assert!(given.is_subset(&known), "{place}: the schema does not know all of {given:?}");
            assert!(given.is_superset(&demanded), "{place}: the schema demands more than {given:?}");
        }
    }
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}"))
}

/// The paths on the one screen that has every URL, as OpenAPI writes them.
fn routed() -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/src/routes.rs");
    let source = std::fs::read_to_string(file).unwrap();
    let texts = source.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/'));
    texts.map(|path| path.split_once(':').map_or(path.to_owned(), |(name, _)| format!("{name}}}"))).collect()
}

#[actix_web::test]
async fn the_document_lists_every_routed_path_and_nothing_else() {
    let app = TestApp::start().await;
    let document = Document::of(&app).await;
    assert_eq!(document.0["openapi"], "3.1.0");
    assert_eq!(document.paths(), routed());
    for path in document.paths() {
        let refusal = Reply::of(app.request(Method::DELETE, &path.replace(['{', '}'], ""))).await;
        refusal.assert_problem(405, "method_not_allowed");
        let allowed = refusal.header("allow").to_lowercase();
        for method in object(&document.0["paths"][&path]).keys() {
            assert!(allowed.contains(method.as_str()), "{path} does not allow {method}, only {allowed}");
        }
    }
    app.stop().await;
}

#[actix_web::test]
async fn every_operation_shows_by_example_what_it_takes_and_gives() {
    let app = TestApp::start().await;
    let document = Document::of(&app).await;
    let tags: Vec<&str> =
        document.0["tags"].as_array().unwrap().iter().filter_map(|tag| tag["name"].as_str()).collect();
    let mut ids = BTreeSet::new();
    for (place, operation) in document.operations() {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{place} has another one's id");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{place}");
        let tag = operation["tags"][0].as_str().unwrap();
        assert!(tags.contains(&tag), "{place} is under {tag}, which nothing describes");
        for content in operation["requestBody"]["content"].as_object().into_iter().flat_map(Map::values) {
            document.assert_example(content, &place);
        }
        let successes = object(&operation["responses"]).iter().filter(|(status, _)| status.as_str() < "400");
        let successes: Vec<_> = successes.collect();
        assert!(!successes.is_empty(), "{place} never succeeds");
        for (_, success) in successes {
            assert!(success["description"].is_string(), "{place}");
            let json = &success["content"]["application/json"];
            if json["schema"]["$ref"].is_string() {
                document.assert_example(json, &place);
            }
        }
    }
    app.stop().await;
}

#[actix_web::test]
async fn answers_may_say_that_they_were_cut_short() {
    let app = TestApp::start().await;
    let document = Document::of(&app).await;
    let schema = |pointer| document.0.pointer(pointer).unwrap_or_else(|| panic!("{pointer} leads nowhere"));
    let answer = schema("/paths/~1chat/post/responses/200/content/application~1json/schema");
    let history =
        schema("/paths/~1chat~1history~1{user_id}/get/responses/200/content/application~1json/schema");
    let exchange = &document.meant(history)["properties"]["messages"]["items"];
    for body in [answer, exchange] {
        let (known, demanded) = document.fields(body);
        assert!(known.contains("truncated") && !demanded.contains("truncated"), "{known:?}, {demanded:?}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn every_refusal_is_a_problem_with_an_example_for_each_of_its_codes() {
    let app = TestApp::start().await;
    let document = Document::of(&app).await;
    for (place, operation) in document.operations() {
        let responses = object(&operation["responses"]);
        for (status, response) in responses.iter().filter(|(status, _)| status.as_str() >= "400") {
            let response = document.meant(response);
            let content = object(&response["content"]);
            assert_eq!(content.keys().collect::<Vec<_>>(), ["application/problem+json"], "{place} {status}");
            let problem = &content["application/problem+json"];
            document.assert_example(problem, &place);
            let codes = &problem["schema"]["allOf"][1]["properties"]["code"]["enum"];
            for code in codes.as_array().unwrap() {
                let example = &problem["examples"][code.as_str().unwrap()]["value"];
                assert_eq!(
                    (&example["code"], example["status"].to_string()),
                    (code, status.clone()),
                    "{place}: no error has this code and status"
                );
            }
        }
        let is_for_anybody = operation["security"] == Value::Array(Vec::new());
        assert!(is_for_anybody || responses.contains_key("401"), "{place}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn the_page_loads_all_its_parts_from_this_server() {
    let app = TestApp::start().await;
    let page = app.request(Method::GET, "/docs").send().await.unwrap();
    assert_eq!((page.status().as_u16(), page.url().path()), (200, "/docs/"));
    let (base, policy) = (page.url().clone(), page.headers()["content-security-policy"].clone());
    assert!(policy.to_str().unwrap().contains("script-src 'self';"));
    let html = page.text().await.unwrap();
    assert!(!html.contains("<script>"), "the policy forbids scripts in the page");
    let parts =
        ["src=\"", "href=\""].map(|mark| html.split(mark).skip(1).filter_map(|rest| rest.split('"').next()));
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    assert!(parts.len() >= 6, "{parts:?}");
    for part in parts {
        assert!(!part.contains("//"), "{part} is on another host");
        let answer = app.client.get(base.join(part).unwrap()).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{part}");
        let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
        let expected = match part.rsplit('.').next().unwrap() {
            "js" => "text/javascript",
            "css" => "text/css",
            _ => "image/png",
        };
        assert!(content_type.starts_with(expected), "{part} is {content_type}");
        if part.ends_with("initializer.js") {
            assert!(answer.text().await.unwrap().contains("../openapi.json"), "it shows another document");
        }
    }
    Reply::of(app.request(Method::GET, "/docs/no-such-file")).await.assert_problem(404, "not_found");
    app.stop().await;
}
