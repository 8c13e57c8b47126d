//! Holds `compose.yaml` and what it mounts together: networks, ports, volumes, settings, and whom Prometheus scrapes.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::{known_settings, read, texts, yaml};

fn compose() -> Value {
    yaml::load(&read("compose.yaml"))
}

fn service<'a>(compose: &'a Value, name: &str) -> &'a Value {
    &compose["services"][name]
}

/// The strings of a list.
fn list<'a>(of: &'a Value, name: &str) -> Vec<&'a str> {
    of[name].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect()
}

#[test]
fn compose_publishes_ports_on_this_machine_alone() {
    let compose = compose();
    for (name, it) in compose["services"].as_object().unwrap() {
        for port in list(it, "ports") {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
            assert!(!port.ends_with(":9100"), "the admin address has no log-in");
        }
        assert!(it.get("network_mode").is_none() && it.get("privileged").is_none(), "{name}");
        assert_eq!(list(it, "cap_drop"), ["ALL"], "{name}");
    }
}

#[test]
fn compose_mounts_what_is_there_and_keeps_the_data_in_a_volume() {
    let compose = compose();
    let named: BTreeSet<String> = compose["volumes"].as_object().unwrap().keys().cloned().collect();
    let networks: BTreeSet<String> = compose["networks"].as_object().unwrap().keys().cloned().collect();
    for (name, it) in compose["services"].as_object().unwrap() {
        for volume in list(it, "volumes") {
            let (from, to) = volume.split_once(':').unwrap();
            match from.strip_prefix("./") {
                Some(file) => {
                    let is_there = Path::new(env!("CARGO_MANIFEST_DIR")).join(file).is_file();
                    assert!(is_there && to.ends_with(":ro"), "{name}: {volume}");
                }
                None => assert!(named.contains(from), "{name}: {volume}"),
            }
        }
        assert!(texts(&it["networks"]).is_subset(&networks), "{name}");
        let image = it["image"].as_str().unwrap();
        let is_fixed = image.rsplit_once(':').is_some_and(|(_, tag)| tag.contains('.'));
        assert!(is_fixed || it.get("build").is_some(), "{name}: {image}");
    }
    let kokoro = service(&compose, "kokoro");
    let dockerfile = kokoro["build"]["dockerfile"].as_str().unwrap();
    let folder = read(dockerfile);
    let folder = folder.split("KOKORO_DATA_DIR=").nth(1).unwrap().lines().next().unwrap();
    assert!(list(kokoro, "volumes").contains(&format!("data:{folder}").as_str()));
}

#[test]
fn compose_sets_what_the_program_knows() {
    let known = known_settings();
    let compose = compose();
    let set = service(&compose, "kokoro")["environment"].as_object().unwrap();
    let unknown: Vec<&String> = set.keys().filter(|name| !known.contains(*name)).collect();
    assert_eq!(unknown, Vec::<&String>::new());
    // Links to files lead to the port that is published.
    let port = set["KOKORO_S3_LISTEN"].as_str().unwrap().rsplit_once(':').unwrap().1;
    assert_eq!(set["S3_PUBLIC_ENDPOINT"], format!("http://127.0.0.1:{port}"));
    let published = format!("127.0.0.1:{port}:{port}");
    assert!(list(service(&compose, "kokoro"), "ports").contains(&published.as_str()));
}

#[test]
fn prometheus_scrapes_the_admin_address_by_a_name_that_it_answers_to() {
    let compose = compose();
    let scrapes = yaml::load(&read("deploy/prometheus.yml"));
    let job = &scrapes["scrape_configs"][0];
    // The alert `Down` selects it.
    assert_eq!(job["job_name"], "kokoro");
    let [target] = list(&job["static_configs"][0], "targets")[..] else { panic!("{job}") };
    let (host, port) = target.split_once(':').unwrap();
    let set = &service(&compose, host)["environment"];
    assert_eq!(set["KOKORO_ADMIN_HOSTS"], host);
    assert!(set["KOKORO_ADMIN_LISTEN"].as_str().unwrap().ends_with(&format!(":{port}")));
    let mounted = list(service(&compose, "prometheus"), "volumes");
    for rules in list(&scrapes, "rule_files") {
        assert!(mounted.contains(&format!("./deploy/{rules}:/etc/prometheus/{rules}:ro").as_str()));
    }
}

#[test]
fn grafana_reads_from_prometheus_and_does_not_reach_the_program() {
    let compose = compose();
    let networks = |name: &str| texts(&service(&compose, name)["networks"]);
    assert!(networks("grafana").is_disjoint(&networks("kokoro")));
    assert!(!networks("grafana").is_disjoint(&networks("prometheus")));
    assert!(!networks("prometheus").is_disjoint(&networks("kokoro")));
    let source = &yaml::load(&read("deploy/grafana/datasource.yml"))["datasources"][0];
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/kokoro.json")).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert_eq!(panel["datasource"]["uid"], source["uid"], "{}", panel["title"]);
    }
    let folder =
        yaml::load(&read("deploy/grafana/dashboards.yml"))["providers"][0]["options"]["path"].clone();
    let folder = folder.as_str().unwrap();
    let mounted = format!("./deploy/grafana/kokoro.json:{folder}/kokoro.json:ro");
    assert!(list(service(&compose, "grafana"), "volumes").contains(&mounted.as_str()));
}
