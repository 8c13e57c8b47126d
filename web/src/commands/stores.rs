//! The stores that the settings name: in AWS, at an address, in a data folder that nobody uses, or in one that a running
//! program has.

use std::path::Path;

use anyhow::{Context, bail};
use persistence::{DataFolder, DataFolderError, Dynamo, EmbeddedDynamo, EmbeddedS3, Endpoint, S3, Where};

use crate::config::{FilesConfig, Place, StoresConfig};

/// What a tool wants of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To look. Nothing is made.
    Read,
    /// To fill it.
    Write,
}

/// The stores, and what is embedded of them, which stops when this is dropped.
pub(super) struct Stores {
    pub(super) dynamo: Dynamo,
    pub(super) s3: S3,
    /// What they are called: the same for the same stores.
    pub(super) name: String,
    /// Whether somebody serves from an embedded one.
    pub(super) is_running: bool,
    _embedded: Embedded,
}

#[derive(Default)]
struct Embedded {
    s3: Option<EmbeddedS3>,
    dynamo: Option<EmbeddedDynamo>,
}

/// The data folder, if some store is in it.
enum Folder {
    Unused,
    Ours(DataFolder),
    Theirs,
}

impl Stores {
    pub(super) async fn open(config: &StoresConfig, purpose: Purpose) -> anyhow::Result<Self> {
        let (store, files) = (&config.store.place, &config.files.place);
        let folder = match [store, files].into_iter().find_map(path_of) {
            None => Folder::Unused,
            Some(path) => lock(path, purpose)?,
        };
        let mut embedded = Embedded::default();
        let dynamo_at = match (path_of(store), &folder) {
            (Some(path), Folder::Ours(folder)) => {
                if purpose == Purpose::Read && !EmbeddedDynamo::is_in(path) {
                    bail!("there is no store in {}", path.display());
                }
                let place = Where::File(folder.clone());
                // A copy is exact: nothing is deleted, not even what has expired.
                let server = EmbeddedDynamo::start_unswept(place)?;
                embedded.dynamo.insert(server).endpoint()
            }
            (Some(path), Folder::Theirs | Folder::Unused) => {
                let running = EmbeddedDynamo::running_in(path).with_context(|| unreadable(path))?;
                running.with_context(|| has_no_server(path))?
            }
            (None, _) => named(store),
        };
        let s3_at = match (path_of(files), &folder) {
            (Some(_), Folder::Ours(folder)) => {
                embedded.s3.insert(EmbeddedS3::start(Where::File(folder.clone()), None)?).endpoint()
            }
            (Some(path), Folder::Theirs | Folder::Unused) => {
                let running = EmbeddedS3::running_in(path).with_context(|| unreadable(path))?;
                running.with_context(|| has_no_server(path))?
            }
            (None, _) => named(files),
        };
        let name = format!("tables {}, files {}", describe(store), describe(files));
        let FilesConfig { public_endpoint, buckets, .. } = config.files.clone();
        Ok(Self {
            dynamo: Dynamo::connect(dynamo_at, config.store.tables.clone()).await?,
            s3: S3::connect(s3_at, public_endpoint, buckets).await?,
            name,
            is_running: matches!(folder, Folder::Theirs),
            _embedded: embedded,
        })
    }
}

/// Takes the folder, unless a running program has it.
fn lock(path: &Path, purpose: Purpose) -> anyhow::Result<Folder> {
    if purpose == Purpose::Read && !path.is_dir() {
        bail!("there is no folder {}", path.display());
    }
    match DataFolder::lock(path) {
        Ok(folder) => Ok(Folder::Ours(folder)),
        Err(DataFolderError::InUse { .. }) => Ok(Folder::Theirs),
        Err(error) => Err(error.into()),
    }
}

fn path_of(place: &Place) -> Option<&Path> {
    match place {
        Place::Folder(path) => Some(path),
        Place::Memory | Place::Named(_) => None,
    }
}

fn named(place: &Place) -> Endpoint {
    match place {
        Place::Named(endpoint) => endpoint.clone(),
        Place::Folder(_) | Place::Memory => Endpoint::Aws,
    }
}

fn describe(place: &Place) -> String {
    match place {
        Place::Named(endpoint) => {
            endpoint.address().map_or_else(|| "in AWS".to_owned(), |address| format!("at {address}"))
        }
        Place::Folder(path) => {
            format!("in {}", std::path::absolute(path).unwrap_or_else(|_| path.clone()).display())
        }
        Place::Memory => "in memory".to_owned(),
    }
}

fn has_no_server(path: &Path) -> String {
    format!(
        "a program has the data folder {} and serves nothing from it yet, or not any more",
        path.display()
    )
}

fn unreadable(path: &Path) -> String {
    format!("who serves from the data folder {} cannot be read", path.display())
}
