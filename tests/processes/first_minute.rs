//! The first minute of a new user, and of one who gets the configuration wrong.

use std::process::Command;

use serde_json::json;

use crate::harness::*;
use crate::zone_files::ZoneFiles;

fn kokoro(environment: &[(&str, &str)], options: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kokoro"));
    let output = command.env_clear().envs(environment.iter().copied()).args(options).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_that_the_demo_prints_works_when_it_is_pasted_into_a_shell() {
    let (_folder, path) = folder();
    let mut node = Node::try_start(&Data::Folder(&path), &[], &["--demo"]).unwrap();
    let session = node.session().await;
    let script = tempfile::tempdir().unwrap();
    let output = Command::new("sh").args(["-ec", &session]).current_dir(script.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{session}\n{said}{}", String::from_utf8_lossy(&output.stderr));
    for part in ["access_token", "\"slots\"", "Slot booked", "\"bookings\"", "\"user_id\""] {
        assert!(said.contains(part), "{part} is missing in:\n{said}");
    }
}

/// The commands of the README's session, each with the answer that it shows.
fn readme_session(readme: &str) -> Vec<(&str, &str)> {
    let (_, session) = readme.split_once("```console\n$ ").unwrap();
    let (session, _) = session.split_once("\n```").unwrap();
    session.split("\n\n$ ").map(|call| call.rsplit_once('\n').unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_in_the_readme_gets_the_answers_that_it_shows() {
    let readme = include_str!("../../README.md");
    let calls = readme_session(readme);
    assert_eq!(calls.len(), 5);
    let (_folder, path) = folder();
    let mut node = Node::try_start(&Data::Folder(&path), &[], &["--demo"]).unwrap();
    let session = node.session().await;
    let date_in = |text: &str| text.split_once("\"date\":\"").unwrap().1[..10].to_owned();
    let (shown, tomorrow) = (date_in(readme), date_in(&session));
    let shell = tempfile::tempdir().unwrap();
    for (command, answer) in calls {
        let here = command.replace("http://127.0.0.1:8080", &node.url).replace(&shown, &tomorrow);
        let output = Command::new("sh").args(["-ec", &here]).current_dir(shell.path()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let mut rest = said.as_str();
        for part in answer.replace(&shown, &tomorrow).split('…') {
            rest = rest.split_once(part).unwrap_or_else(|| panic!("{here}\n{said}\nhas no {part}")).1;
        }
        assert!(rest.is_empty(), "{here}\nThe README leaves out: {rest}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_made_up_secret_is_kept_for_the_owner_alone_and_outlives_a_restart() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = folder();
    let data = Data::Folder(&path);
    let account = json!({"email": "ada@example.com", "password": "correct horse"});
    let token = {
        // An empty variable counts as unset.
        let node = Node::start_with(&data, &[("KOKORO_JWT_SECRET", "")]);
        let mut signup = account.clone();
        signup["username"] = "Ada".into();
        signup["phoneNumber"] = "12345".into();
        assert_eq!(node.post("/auth/signupUser", None, &signup).await.0, 200);
        node.post("/auth/loginUser", None, &account).await.1["access_token"].as_str().unwrap().to_owned()
    };
    let files: Vec<_> = std::fs::read_dir(&path).unwrap().map(Result::unwrap).collect();
    let secret = files.iter().find(|file| file.file_name().to_string_lossy().contains("secret")).unwrap();
    assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let node = Node::start_with(&data, &[("KOKORO_JWT_SECRET", "")]);
    let body = json!({"user_id": "ada@example.com"});
    assert_eq!(node.post("/doctorBookings/user", Some(&token), &body).await.0, 200);
}

#[test]
fn wrong_configuration_is_a_clear_sentence_and_an_exit_status_before_anything_listens() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("KOKORO_LISTEN", "nowhere")], "KOKORO_LISTEN"),
        (&[("KOKORO_JWT_SECRET", "short")], "KOKORO_JWT_SECRET"),
        (&[("CLINIC_TIME_ZONE", "Mars/Olympus")], "CLINIC_TIME_ZONE"),
        (&[("RATE_LIMIT_PER_MINUTE", "many")], "RATE_LIMIT_PER_MINUTE"),
        (&[("KOKORO_BOOKINGS_PER_DOCTOR_MAX", "769")], "KOKORO_BOOKINGS_PER_DOCTOR_MAX"),
        (&[("TRUSTED_PROXIES", "10.0.0.0/99")], "TRUSTED_PROXIES"),
        (&[("KOKORO_ADMIN_HOSTS", "kokoro.internal:9100")], "KOKORO_ADMIN_HOSTS"),
        (&[("CORS_ALLOWED_ORIGINS", "*")], "CORS_ALLOWED_ORIGINS"),
        (&[("CORS_ALLOWED_ORIGINS", "https://a.example,https://*.example")], "CORS_ALLOWED_ORIGINS"),
        (&[("CORS_ALLOWED_ORIGINS", "https://a.example/")], "CORS_ALLOWED_ORIGINS"),
        (&[("DYNAMODB_ENDPOINT", "not an address")], "DYNAMODB_ENDPOINT"),
        (&[("DYNAMODB_ENDPOINT", "http://127.0.0.1:1")], "KOKORO_JWT_SECRET"),
        (&[("KOKORO_DEMO", "perhaps")], "KOKORO_DEMO"),
        (&[("AWS_PROFILE", "clinic")], "AWS_REGION"),
    ];
    for (environment, named) in cases {
        let mut environment = environment.to_vec();
        environment.push(("KOKORO_DATA_DIR", folder));
        if !environment.iter().any(|(name, _)| *name == "KOKORO_LISTEN") {
            environment.push(("KOKORO_LISTEN", "127.0.0.1:0"));
        }
        let (status, output, errors) = kokoro(&environment, &[]);
        assert_eq!(status, Some(78), "{environment:?}: {errors}");
        assert!(errors.contains(named) && !errors.contains("panicked"), "{environment:?}: {errors}");
        assert_eq!(output, "", "nothing may listen");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn origins_are_allowed_however_a_person_spells_them() {
    let (_folder, path) = folder();
    let allowed = "https://app.example:443, HTTPS://Staging.Example ,http://localhost:80";
    let node = Node::start_with(&Data::Folder(&path), &[("CORS_ALLOWED_ORIGINS", allowed)]);
    let client = reqwest::Client::new();
    for (origin, is_allowed) in [
        ("https://app.example", true),
        ("https://staging.example", true),
        ("http://localhost", true),
        ("https://app.example:8443", false),
        ("http://app.example", false),
        ("https://evil.example", false),
    ] {
        let preflight = client.request(reqwest::Method::OPTIONS, format!("{}/auth/logout", node.url));
        let preflight = preflight.header("Origin", origin).header("Access-Control-Request-Method", "POST");
        let headers = preflight.send().await.unwrap().headers().clone();
        assert_eq!(headers.get("access-control-allow-origin").is_some(), is_allowed, "{origin}");
        let call = client.post(format!("{}/auth/logout", node.url)).header("Origin", origin);
        let status = call.header("Sec-Fetch-Site", "cross-site").send().await.unwrap().status();
        assert_eq!(status == 200, is_allowed, "{origin}");
    }
}

#[test]
fn start_up_log_names_the_source_and_the_versions_of_the_zone_data() {
    const OLDER: &str = "is older than the compiled-in data";
    let data = tempfile::tempdir().unwrap();
    // The address is taken: the program logs its settings, and ends.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let log = |folder: &str| {
        let environment = [
            ("CLINIC_TIME_ZONE", "America/Vancouver"),
            ("TZDIR", folder),
            ("KOKORO_LISTEN", &address),
            ("KOKORO_DATA_DIR", data.path().to_str().unwrap()),
        ];
        kokoro(&environment, &[]).2
    };
    let compiled_in = engine::Clinic::compiled_in_version();
    let cases = [
        (Some(("+VERSION", "2025b\n")), "2025b", true),
        (
            Some(("tzdata.zi", "# version 2025c\n# This zic input file is in the public domain.\n")),
            "2025c",
            true,
        ),
        (Some(("version", "2199a")), "2199a", false),
        (None, "unknown", false),
    ];
    for (file, version, is_older) in cases {
        let files = ZoneFiles::with("America/Vancouver", "PST8PDT,M3.2.0,M11.1.0");
        if let Some((name, content)) = file {
            files.write(name, content.as_bytes());
        }
        let said = log(files.folder());
        let sentence = format!("data {version} from {}; compiled-in data {compiled_in}", files.folder());
        assert!(said.contains(&sentence), "{sentence} is missing in:\n{said}");
        assert_eq!(said.contains(OLDER), is_older, "{said}");
    }
    let said = log("/nowhere");
    let sentence = format!(
        "America/Vancouver: data {compiled_in} from the program itself (compiled in, because /nowhere"
    );
    assert!(said.contains(&sentence) && !said.contains(OLDER), "{sentence} is missing in:\n{said}");
}

#[test]
fn a_folder_that_is_in_use_is_refused_by_name() {
    let (_folder, path) = folder();
    let _node = Node::start(&Data::Folder(&path));
    let log = Node::try_start(&Data::Folder(&path), &[], &[]).err().unwrap();
    assert!(log.contains(path.to_str().unwrap()) && log.contains("another process"), "{log}");
}

#[test]
fn help_explains_every_option_variable_and_exit_status() {
    let (status, output, _) = kokoro(&[], &["--help"]);
    assert_eq!(status, Some(0));
    for word in [
        "--listen",
        "--data-dir",
        "--demo",
        "KOKORO_LISTEN",
        "KOKORO_DATA_DIR",
        "KOKORO_DEMO",
        "KOKORO_JWT_SECRET",
        "AWS_REGION",
        "DYNAMODB_ENDPOINT",
        "USERS_TABLE",
        "DOCTORS_TABLE",
        "DOCTOR_AVAILABILITY_TABLE",
        "DOCTOR_BOOKINGS_TABLE",
        "CHAT_HISTORY_TABLE",
        "PAYMENTS_TABLE",
        "KOKORO_ENGINE_TABLE",
        "CLINIC_TIME_ZONE",
        "TZDIR",
        "KOKORO_BOOKINGS_PER_DOCTOR_MAX",
        "CORS_ALLOWED_ORIGINS",
        "RATE_LIMIT_PER_MINUTE",
        "TRUSTED_PROXIES",
        "78",
        "3",
    ] {
        assert!(output.contains(word), "{word} is missing in:\n{output}");
    }
}
