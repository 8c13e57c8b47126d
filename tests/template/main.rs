//! Holds the deployment to the program: `template.yaml`, the image and the Debian package name the tables, settings, log
//! lines and times that the program has, and its role may do what the program does, no less and no more.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod compose;
mod rights;
mod workflow;
mod yaml;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use persistence::tables::{KeyAttribute, KeyDefinition, TableDefinition, definitions};
use persistence::{BucketNames, TableNames};
use serde_json::{Value, json};
use web::config::{CHAT_TIMEOUT, ServerConfig};

/// Fargate Spot takes a machine away so long after SIGTERM, and no container may ask for more.
const SPOT_NOTICE_SECONDS: u64 = 120;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn template() -> Value {
    yaml::load(&read("template.yaml"))
}

/// The properties of the resources of one type, with their names.
fn resources<'a>(template: &'a Value, kind: &str) -> Vec<(&'a str, &'a Value)> {
    let all = template["Resources"].as_object().unwrap();
    all.iter().filter(|(_, it)| it["Type"] == kind).map(|(name, it)| (name.as_str(), it)).collect()
}

fn texts(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn attribute(name: KeyAttribute) -> Value {
    let kind = if matches!(name, KeyAttribute::Text(_)) { "S" } else { "N" };
    json!({ "AttributeName": name.name(), "AttributeType": kind })
}

fn schema(key: KeyDefinition) -> Value {
    let hash = json!({ "AttributeName": key.hash.name(), "KeyType": "HASH" });
    let range = key.range.map(|range| json!({ "AttributeName": range.name(), "KeyType": "RANGE" }));
    Value::Array(std::iter::once(hash).chain(range).collect())
}

/// What a table of the template must say, in CloudFormation's words.
fn properties(definition: &TableDefinition) -> Value {
    let mut attributes = Vec::new();
    for key in std::iter::once(definition.key).chain(definition.indexes.iter().map(|index| index.key)) {
        for name in std::iter::once(key.hash).chain(key.range) {
            let it = attribute(name);
            if !attributes.contains(&it) {
                attributes.push(it);
            }
        }
    }
    let mut properties = json!({
        "TableName": definition.name,
        "BillingMode": "PAY_PER_REQUEST",
        "DeletionProtectionEnabled": true,
        "PointInTimeRecoverySpecification": { "PointInTimeRecoveryEnabled": true },
        "SSESpecification": { "SSEEnabled": true },
        "AttributeDefinitions": attributes,
        "KeySchema": schema(definition.key),
    });
    if let Some(attribute) = definition.time_to_live {
        properties["TimeToLiveSpecification"] = json!({ "AttributeName": attribute, "Enabled": true });
    }
    if !definition.indexes.is_empty() {
        let index = |index: &persistence::tables::IndexDefinition| json!({ "IndexName": index.name, "KeySchema": schema(index.key), "Projection": { "ProjectionType": "ALL" } });
        properties["GlobalSecondaryIndexes"] = definition.indexes.iter().map(index).collect();
    }
    properties
}

#[test]
fn its_tables_are_the_ones_that_the_program_would_make() {
    let template = template();
    let stored = resources(&template, "AWS::DynamoDB::Table");
    let definitions = definitions(&TableNames::default());
    assert_eq!(stored.len(), definitions.len());
    for definition in &definitions {
        let named = |it: &&(&str, &Value)| it.1["Properties"]["TableName"] == definition.name.as_str();
        let (_, table) = stored.iter().find(named).unwrap();
        assert_eq!(table["Properties"], properties(definition));
        assert_eq!(
            (&table["DeletionPolicy"], &table["UpdateReplacePolicy"]),
            (&json!("Retain"), &json!("Retain"))
        );
    }
}

#[test]
fn its_buckets_are_the_programs_and_closed_and_kept() {
    let template = template();
    let BucketNames { medilocker, documents } = BucketNames::default();
    let parameter = |name: &str| template["Parameters"][name]["Default"].clone();
    assert_eq!(parameter("MedilockerBucketName"), medilocker);
    assert_eq!(parameter("DocumentsBucketName"), documents);
    let buckets = resources(&template, "AWS::S3::Bucket");
    assert_eq!(buckets.len(), 2);
    for (name, bucket) in buckets {
        let it = &bucket["Properties"];
        assert_eq!(bucket["DeletionPolicy"], "Retain", "{name}");
        assert_eq!(it["VersioningConfiguration"]["Status"], "Enabled", "{name}");
        let access = it["PublicAccessBlockConfiguration"].as_object().unwrap();
        assert!(access.len() == 4 && access.values().all(|closed| *closed == true), "{name}");
        let encryption = &it["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
        assert_eq!(encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"], "AES256", "{name}");
        assert_eq!(
            it["CorsConfiguration"]["CorsRules"][0]["AllowedOrigins"],
            json!([{ "!Ref": "FrontendOrigin" }])
        );
    }
}

/// The variables of docs/settings.md, which is generated from the definition of the settings.
fn known_settings() -> BTreeSet<String> {
    let variable = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    read("docs/settings.md").lines().filter_map(variable).collect()
}

fn container(template: &Value) -> &Value {
    &template["Resources"]["NodeTask"]["Properties"]["ContainerDefinitions"][0]
}

#[test]
fn every_setting_of_the_deployment_is_one_that_the_program_knows() {
    let known = known_settings();
    assert!(known.contains("KOKORO_LISTEN") && known.contains("USERS_TABLE"), "{known:?}");
    let template = template();
    let mut set: Vec<String> = Vec::new();
    for list in ["Environment", "Secrets"] {
        for it in container(&template)[list].as_array().unwrap() {
            let it = it["!If"].get(1).unwrap_or(it);
            set.push(it["Name"].as_str().unwrap().to_owned());
        }
    }
    let assigned = |line: &str| {
        let (name, _) = line.trim_start_matches(['#', ' ']).trim_start_matches("ENV ").split_once('=')?;
        let is_name = name.len() > 3
            && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit());
        is_name.then(|| name.to_owned())
    };
    for path in ["deploy/kokoro.env", "deploy/Dockerfile"] {
        let before = set.len();
        set.extend(read(path).lines().filter_map(assigned));
        assert!(set.len() > before + 1, "nothing is set in {path}");
    }
    let unknown: Vec<&String> = set.iter().filter(|name| !known.contains(*name)).collect();
    assert_eq!(unknown, Vec::<&String>::new());
    assert!(read("deploy/entrypoint").contains("export KOKORO_NODE_ADDRESS"));
}

#[test]
fn the_nodes_trust_the_load_balancers_subnets_alone() {
    let template = template();
    let environment = container(&template)["Environment"].as_array().unwrap();
    let trusted = environment.iter().find(|it| it["Name"] == "TRUSTED_PROXIES").unwrap();
    assert_eq!(trusted["Value"], json!({ "!Ref": "PublicSubnetCidrs" }));
    let parameters = template["Parameters"].as_object().unwrap();
    let networks: Vec<&String> = parameters.keys().filter(|name| name.contains("Cidr")).collect();
    assert_eq!(networks, ["OperatorsCidr", "PublicSubnetCidrs"]);
    assert_eq!(
        template["Resources"]["Balancer"]["Properties"]["Subnets"],
        json!({ "!Ref": "PublicSubnets" })
    );
}

#[test]
fn no_secret_stands_in_it() {
    let template = template();
    for it in container(&template)["Environment"].as_array().unwrap() {
        let name = it["Name"].as_str().unwrap();
        assert!(!name.contains("SECRET") && !name.contains("KEY"), "{name}");
    }
    for it in container(&template)["Secrets"].as_array().unwrap() {
        let it = it["!If"].get(1).unwrap_or(it);
        let from = it["ValueFrom"]["!Sub"].as_str().unwrap();
        assert!(from.contains(":secretsmanager:") && from.contains("SecretName}:"), "{from}");
    }
}

#[test]
fn a_node_has_the_time_that_it_needs_to_stop_and_the_balancer_gives_up_first() {
    let template = template();
    let server = ServerConfig::default();
    let stop = container(&template)["StopTimeout"].as_u64().unwrap();
    assert!(stop > server.stop_timeout.as_secs() && stop <= SPOT_NOTICE_SECONDS, "{stop}");
    let attributes = &template["Resources"]["Balancer"]["Properties"]["LoadBalancerAttributes"];
    let idle =
        attributes.as_array().unwrap().iter().find(|it| it["Key"] == "idle_timeout.timeout_seconds").unwrap();
    let idle = idle["Value"].as_str().unwrap().parse::<u64>().unwrap();
    // And not before the program does, which knows what to say: an answer of the assistant is silent until it is whole.
    let longest = CHAT_TIMEOUT.max(server.answer_timeout).as_secs();
    assert!(longest + 5 <= idle && idle + 5 <= server.keep_alive.as_secs(), "{longest} {idle}");
    let unit = read("deploy/kokoro.service");
    let setting = |name| line_of(&unit, name);
    assert!(setting("TimeoutStopSec").parse::<u64>().unwrap() > server.stop_timeout.as_secs());
    assert_eq!(setting("RestartPreventExitStatus"), "3 78");
}

#[test]
fn the_packaged_socket_is_where_the_program_would_listen_and_stops_with_its_service() {
    let (unit, socket) = (read("deploy/kokoro.service"), read("deploy/kokoro.socket"));
    let server = ServerConfig::default();
    assert_eq!(line_of(&socket, "ListenStream"), server.listen.to_string());
    assert_eq!(line_of(&socket, "Backlog"), server.backlog.to_string());
    // A process that must not be started again is not started by a call either.
    assert_eq!(line_of(&socket, "StopPropagatedFrom"), "kokoro.service");
    assert!(!socket.contains("[Install]"), "it would be there without its service");
    assert_eq!((line_of(&unit, "Wants"), line_of(&unit, "Type")), ("kokoro.socket", "notify"));
    assert!(!read("deploy/kokoro.env").contains("\nKOKORO_LISTEN="), "it could contradict the socket");
}

/// The last setting of this name in a unit.
fn line_of<'a>(unit: &'a str, name: &str) -> &'a str {
    unit.lines().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap()
}

#[test]
fn only_the_way_in_and_the_other_nodes_reach_a_node() {
    let template = template();
    for (name, it) in resources(&template, "AWS::ElasticLoadBalancingV2::TargetGroup") {
        assert_eq!(it["Properties"]["HealthCheckPath"], "/readyz", "{name}");
    }
    let into_nodes = &template["Resources"]["NodeSecurityGroup"]["Properties"]["SecurityGroupIngress"];
    let [api, operators] = into_nodes.as_array().unwrap().as_slice() else { panic!("{into_nodes}") };
    assert_eq!(api["SourceSecurityGroupId"], json!({ "!GetAtt": "BalancerSecurityGroup.GroupId" }));
    assert_eq!(operators["!If"][0], "AdmitsOperators");
    let between = &template["Resources"]["NodeToNode"]["Properties"];
    assert_eq!(between["SourceSecurityGroupId"], between["GroupId"]);
}

/// All text of the program that may log something.
fn sources() -> String {
    ["engine/src", "persistence/src", "web/src"]
        .iter()
        .flat_map(|folder| rights::files(folder))
        .map(|(_, text)| text)
        .collect()
}

#[test]
fn every_log_line_that_an_alarm_counts_is_one_that_the_program_writes() {
    let (template, sources) = (template(), sources());
    let filters = resources(&template, "AWS::Logs::MetricFilter");
    assert!(filters.len() >= 4);
    for (name, it) in filters {
        let pattern = it["Properties"]["FilterPattern"].as_str().unwrap();
        let quoted = |after: &str| pattern.split_once(after).and_then(|(_, rest)| rest.split('"').next());
        if let Some(message) = quoted("$.message = \"") {
            assert!(sources.contains(&format!("\"{message}\"")), "{name}: {message}");
        }
        if let Some(reason) = quoted("$.reason = \"") {
            assert!(
                sources.contains("tracing::warn!(?reason, ")
                    && sources.contains(&format!("ReloadReason::{reason}"))
            );
        }
    }
}

#[test]
fn every_alarm_reaches_somebody_and_the_operators_are_told_what_to_do() {
    let (template, operations) = (template(), read("docs/operations.md"));
    let alarms = resources(&template, "AWS::CloudWatch::Alarm");
    assert!(alarms.len() >= 8);
    let counted: BTreeSet<String> = resources(&template, "AWS::Logs::MetricFilter")
        .iter()
        .map(|(_, it)| {
            it["Properties"]["MetricTransformations"][0]["MetricName"].as_str().unwrap().to_owned()
        })
        .collect();
    let mut watched = BTreeSet::new();
    for (name, it) in alarms {
        let it = &it["Properties"];
        assert_eq!(it["AlarmActions"], json!([{ "!Ref": "Alarms" }]), "{name}");
        assert!(
            operations.contains(&format!("| `{name}` |")),
            "docs/operations.md does not say what to do about {name}"
        );
        if it["Namespace"].get("!Sub").is_some() {
            watched.insert(it["MetricName"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(watched, counted);
}
