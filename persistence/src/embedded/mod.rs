//! The servers of the default run: DynamoDB and S3 over files in the data folder, on loopback with threads of their own; this
//! process reaches the DynamoDB without them. To the rest of the program they differ from AWS only in their [`crate::Endpoint`].

mod conditions;
mod dynamo;
mod dynamo_http;
mod http;
mod keys;
mod objects;
mod own_process;
mod reads;
mod s3;
mod s3_calls;
mod signature;

use std::io;
use std::path::PathBuf;

use tokio::sync::watch;

pub use dynamo::EmbeddedDynamo;
pub use http::Admission;
pub use own_process::OwnProcess;
pub use s3::EmbeddedS3;

use crate::data_folder::{DataFolder, SecretError};

/// Where the data lives.
#[derive(Debug, Clone)]
pub enum Where {
    /// In this folder.
    File(DataFolder),
    /// Nowhere that outlives the server.
    Memory,
}

/// Why an embedded server does not run.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No address, no thread, no file.
    #[error("the embedded store cannot start")]
    System(#[from] io::Error),
    /// The database cannot be opened, or not be swept.
    #[error("the embedded DynamoDB cannot be used: {0}")]
    Database(String),
    /// Only a version before this one can read it.
    #[error(
        "{} was written by a version before this one, which cannot read it: export with that version (`kokoro export`), and import \
         with this one (`kokoro import`) into another data folder",
        file.display()
    )]
    Old {
        /// What was found.
        file: PathBuf,
    },
    /// The secret that requests are signed with cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Returns when the server is to stop, or nobody is left who could say so.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is as good as its word.
    let _ = stopping.wait_for(|stop| *stop).await;
}
