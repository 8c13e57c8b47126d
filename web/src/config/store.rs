//! Where the data lives, and under which table names.

use std::net::SocketAddr;
use std::path::PathBuf;

use actix_web::http::Uri;
use persistence::{Endpoint, TableNames};

use super::environment::Environment;

/// Which store, and the names of its tables.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Where it is.
    pub place: Place,
    /// Where the embedded server listens; `None`: where nobody else finds it.
    pub embedded_listen: Option<SocketAddr>,
    /// What its tables are called.
    pub tables: TableNames,
}

/// Where the data lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the embedded server, with its files in this folder.
    Folder(PathBuf),
    /// In the embedded server, gone when it stops (tests).
    Memory,
    /// In another process, or in AWS.
    Named(Endpoint),
}

impl Place {
    /// Whether the program brings the store along.
    pub const fn is_embedded(&self) -> bool {
        matches!(self, Self::Folder(_) | Self::Memory)
    }
}

impl StoreConfig {
    /// Reads `DYNAMODB_ENDPOINT`, `AWS_REGION` or `AWS_DEFAULT_REGION`, `KOKORO_DATA_DIR` (default `./data`),
    /// `KOKORO_DYNAMODB_LISTEN` and the table names.
    pub(super) fn from_env(env: &mut Environment) -> Self {
        let endpoint = env.parsed("DYNAMODB_ENDPOINT", url);
        let region = env.text("AWS_REGION").or_else(|| env.text("AWS_DEFAULT_REGION"));
        if endpoint.is_none() && region.is_none() {
            // Whoever set these meant AWS, and would not find its bookings in a folder.
            for name in
                ["AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_S3"]
            {
                if env.text(name).is_some() {
                    env.problem(format!("{name} is set, and neither AWS_REGION nor DYNAMODB_ENDPOINT is"));
                }
            }
        }
        let place = match (endpoint, region) {
            (None, None) => Place::Folder(data_folder(env)),
            (endpoint, _) => Place::Named(endpoint.map_or(Endpoint::Aws, Endpoint::At)),
        };
        let embedded_listen = env.parsed("KOKORO_DYNAMODB_LISTEN", |text| {
            // Rows of patients travel unencrypted.
            let address = text.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
            address.ok_or("a loopback address and a port such as 127.0.0.1:8000")
        });
        if embedded_listen.is_some() && !place.is_embedded() {
            env.problem("KOKORO_DYNAMODB_LISTEN is set, but DynamoDB is not the embedded one".to_owned());
        }
        Self { place, embedded_listen, tables: tables_from_env(env) }
    }
}

fn tables_from_env(env: &mut Environment) -> TableNames {
    let mut tables = TableNames::default();
    for (name, table) in [
        ("USERS_TABLE", &mut tables.users),
        ("DOCTORS_TABLE", &mut tables.doctors),
        ("DOCTOR_AVAILABILITY_TABLE", &mut tables.availability),
        ("DOCTOR_BOOKINGS_TABLE", &mut tables.bookings),
        ("CHAT_HISTORY_TABLE", &mut tables.chat_history),
        ("PAYMENTS_TABLE", &mut tables.payments),
        ("KOKORO_ENGINE_TABLE", &mut tables.engine),
        ("KOKORO_NODES_TABLE", &mut tables.nodes),
        ("KOKORO_AUDIT_TABLE", &mut tables.audit),
    ] {
        if let Some(value) = env.parsed(name, table_name) {
            *table = value;
        }
    }
    tables
}

fn table_name(text: &str) -> Result<String, &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let well_formed = (3..=255).contains(&text.len()) && text.bytes().all(allowed);
    well_formed.then(|| text.to_owned()).ok_or("a table name: 3 to 255 letters, digits, '_', '.' or '-'")
}

/// Where the embedded servers keep their data.
pub(super) fn data_folder(env: &Environment) -> PathBuf {
    env.text("KOKORO_DATA_DIR").unwrap_or_else(|| "./data".to_owned()).into()
}

pub(super) fn url(text: &str) -> Result<String, &'static str> {
    let expected = "a URL such as http://127.0.0.1:8000, without a user or a password";
    let uri: Uri = text.parse().map_err(|_| expected)?;
    let is_url =
        uri.scheme_str().is_some_and(|scheme| ["http", "https"].contains(&scheme)) && uri.host().is_some();
    let names_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    (is_url && !names_user).then(|| text.to_owned()).ok_or(expected)
}
