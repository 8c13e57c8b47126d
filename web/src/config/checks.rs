//! Rules about several settings. Each is a sentence for the operator.

use persistence::Endpoint;

use super::reading::Findings;
use super::stores::StoresSettings;
use super::{Place, Settings};

/// Checks the settings that tools read too.
pub(super) fn of_stores(settings: &StoresSettings, findings: &mut Findings) {
    let (store, files) = (settings.store.place(), settings.files.place(&settings.store));
    if store.is_embedded() {
        // These variables point to AWS, whose bookings are not in the embedded store.
        for name in ["AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_S3"] {
            if findings.has(name) {
                findings.problem(format!("{name} is set, and neither AWS_REGION nor DYNAMODB_ENDPOINT is"));
            }
        }
    }
    if findings.has("KOKORO_DYNAMODB_LISTEN") && !store.is_embedded() {
        findings.problem("KOKORO_DYNAMODB_LISTEN is set, but DynamoDB is not the embedded one");
    }
    if findings.has("KOKORO_S3_LISTEN") && !files.is_embedded() {
        findings.problem("KOKORO_S3_LISTEN is set, but S3 is not the embedded one");
    }
}

/// Checks the settings that only a server reads.
pub(super) fn of_server(settings: &Settings, findings: &mut Findings) {
    let store = settings.stores.store.place();
    if !findings.has("KOKORO_JWT_SECRET") && !store.is_embedded() {
        findings.problem(
            "KOKORO_JWT_SECRET is not set: with DYNAMODB_ENDPOINT or AWS_REGION it must be, to 32 bytes or more that every \
             process of the platform shares",
        );
    }
    if settings.demo && matches!(store, Place::Named(Endpoint::Aws)) {
        findings.problem(
            "KOKORO_DEMO creates accounts whose passwords everybody knows: it works in the embedded default or with \
             DYNAMODB_ENDPOINT, not on AWS",
        );
    }
    for [one, other] in [["KOKORO_TLS_CERT", "KOKORO_TLS_KEY"], ["RAZORPAY_KEY_ID", "RAZORPAY_KEY_SECRET"]] {
        if findings.has(one) != findings.has(other) {
            findings.problem(format!("{one} and {other} must both be set, or neither"));
        }
    }
    if findings.has("KOKORO_NODE_ADDRESS") {
        of_node(settings, findings);
    } else {
        // A process that is alone takes every doctor from the nodes of a cluster on its tables.
        for name in ["KOKORO_NODE_LISTEN", "KOKORO_CLUSTER_SECRET", "KOKORO_HEARTBEAT_MS", "KOKORO_LEASE_MS"]
        {
            if findings.has(name) {
                findings.problem(format!("{name} is set, but KOKORO_NODE_ADDRESS is not"));
            }
        }
    }
}

fn of_node(settings: &Settings, findings: &mut Findings) {
    if !findings.has("KOKORO_CLUSTER_SECRET") {
        findings.problem(
            "KOKORO_CLUSTER_SECRET is not set: with KOKORO_NODE_ADDRESS it must be, to 32 bytes or more, the same on every \
             node",
        );
    }
    if settings.cluster.timing().is_none() {
        findings.problem("KOKORO_LEASE_MS must be at least twice KOKORO_HEARTBEAT_MS, and that at least 50");
    }
}
