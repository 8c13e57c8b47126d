//! Where the data lives, and under which table names.

use std::net::SocketAddr;
use std::path::PathBuf;

use persistence::{Endpoint, TableNames};

use super::parsers::{Expected, url};

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

/// The DynamoDB and its tables, as they are set. The SDK reads the variables of AWS by itself; those that point to it are
/// refused for the embedded store ([`super::checks`]).
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Store")]
pub(super) struct StoreSettings {
    /// Folder of the embedded store and of the secret that was made up for it.
    #[arg(long, env = "KOKORO_DATA_DIR", value_name = "FOLDER", default_value = "./data")]
    pub(super) data_dir: PathBuf,
    /// Use the DynamoDB and the S3 of this AWS region, with credentials found the way AWS's own tools do. Without it and
    /// without an endpoint, the embedded store is used.
    #[arg(long, env = "AWS_REGION", hide = true)]
    aws_region: Option<String>,
    /// Second name of AWS_REGION, which counts if that is not set.
    #[arg(long, env = "AWS_DEFAULT_REGION", hide = true)]
    aws_default_region: Option<String>,
    /// Profile, as AWS's own tools take it; needs AWS_REGION as well.
    #[arg(long, env = "AWS_PROFILE", hide = true)]
    aws_profile: Option<String>,
    /// Endpoint of all services, as AWS's own tools take it; needs AWS_REGION as well.
    #[arg(long, env = "AWS_ENDPOINT_URL", hide = true)]
    aws_endpoint_url: Option<String>,
    /// Endpoint of DynamoDB, as AWS's own tools take it; needs AWS_REGION as well.
    #[arg(long, env = "AWS_ENDPOINT_URL_DYNAMODB", hide = true)]
    aws_endpoint_url_dynamodb: Option<String>,
    /// Endpoint of S3, as AWS's own tools take it; needs AWS_REGION as well.
    #[arg(long, env = "AWS_ENDPOINT_URL_S3", hide = true)]
    aws_endpoint_url_s3: Option<String>,
    /// URL of the DynamoDB-compatible server to use. Without it and without AWS_REGION, the embedded store is used.
    #[arg(long, env = "DYNAMODB_ENDPOINT", value_name = "URL", value_parser = url)]
    dynamodb_endpoint: Option<String>,
    /// Loopback address and port of the embedded DynamoDB, for other processes on this machine (their DYNAMODB_ENDPOINT). They
    /// sign with its key: AWS_ACCESS_KEY_ID=kokoro, and AWS_SECRET_ACCESS_KEY from store-secret in the data folder. Without it
    /// the server takes a free port of a loopback address of its own.
    #[arg(long, env = "KOKORO_DYNAMODB_LISTEN", value_name = "ADDRESS:PORT", value_parser = loopback_address)]
    dynamodb_listen: Option<SocketAddr>,
    /// Table of the patients' accounts.
    #[arg(long, env = "USERS_TABLE", value_name = "NAME", default_value = "Users", value_parser = table_name)]
    users_table: String,
    /// Table of the doctors' accounts and profiles.
    #[arg(long, env = "DOCTORS_TABLE", value_name = "NAME", default_value = "Doctors", value_parser = table_name)]
    doctors_table: String,
    /// Table of published slots.
    #[arg(long, env = "DOCTOR_AVAILABILITY_TABLE", value_name = "NAME", default_value = "DoctorAvailabilityTable", value_parser = table_name)]
    doctor_availability_table: String,
    /// Table of bookings.
    #[arg(long, env = "DOCTOR_BOOKINGS_TABLE", value_name = "NAME", default_value = "DoctorBookingsTable", value_parser = table_name)]
    doctor_bookings_table: String,
    /// Table of exchanges with the assistant.
    #[arg(long, env = "CHAT_HISTORY_TABLE", value_name = "NAME", default_value = "ChatHistory", value_parser = table_name)]
    chat_history_table: String,
    /// Table of payments.
    #[arg(long, env = "PAYMENTS_TABLE", value_name = "NAME", default_value = "PaymentsTable", value_parser = table_name)]
    payments_table: String,
    /// Table of the engine's own items: who owns which doctors.
    #[arg(long, env = "KOKORO_ENGINE_TABLE", value_name = "NAME", default_value = "KokoroEngine", value_parser = table_name)]
    engine_table: String,
    /// Table of the nodes of a cluster and their heartbeats.
    #[arg(long, env = "KOKORO_NODES_TABLE", value_name = "NAME", default_value = "KokoroNodes", value_parser = table_name)]
    nodes_table: String,
    /// Table of the audit trail: who read, changed or deleted whose records. Rows are only added: the right to put suffices.
    #[arg(long, env = "KOKORO_AUDIT_TABLE", value_name = "NAME", default_value = "KokoroAudit", value_parser = table_name)]
    audit_table: String,
}

impl StoreSettings {
    /// Where the rows are.
    pub(super) fn place(&self) -> Place {
        self.place_of(self.dynamodb_endpoint.as_ref())
    }

    /// Where a store with this endpoint is.
    pub(super) fn place_of(&self, endpoint: Option<&String>) -> Place {
        if endpoint.is_none() && self.aws_region.is_none() && self.aws_default_region.is_none() {
            Place::Folder(self.data_dir.clone())
        } else {
            Place::Named(endpoint.cloned().map_or(Endpoint::Aws, Endpoint::At))
        }
    }

    pub(super) fn resolve(self) -> StoreConfig {
        let place = self.place();
        let tables = TableNames {
            users: self.users_table,
            doctors: self.doctors_table,
            availability: self.doctor_availability_table,
            bookings: self.doctor_bookings_table,
            chat_history: self.chat_history_table,
            payments: self.payments_table,
            engine: self.engine_table,
            nodes: self.nodes_table,
            audit: self.audit_table,
        };
        StoreConfig { place, embedded_listen: self.dynamodb_listen, tables }
    }
}

/// Reads the address of a server to which rows of patients travel unencrypted, so no other machine may reach it.
fn loopback_address(text: &str) -> Result<SocketAddr, Expected> {
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
    address.ok_or(Expected("a loopback address and a port such as 127.0.0.1:8000"))
}

fn table_name(text: &str) -> Result<String, Expected> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let well_formed = (3..=255).contains(&text.len()) && text.bytes().all(allowed);
    let expected = Expected("a table name: 3 to 255 letters, digits, '_', '.' or '-'");
    well_formed.then(|| text.to_owned()).ok_or(expected)
}
