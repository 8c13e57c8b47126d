//! The stores: found where the settings say, or brought along.

use std::any::Any;
use std::sync::Arc;

use anyhow::Context;
use ipnet::IpNet;
use persistence::{
    Admission, DataFolder, Dynamo, EmbeddedDynamo, EmbeddedS3, Endpoint, S3, Where, fresh_secret,
};

use crate::config::{Config, FilesConfig, Place, SigningSecrets, StoreConfig};
use crate::connections::{Bounds, Connections};

/// The file of the made-up signing secret, in the data folder.
pub(crate) const TOKEN_SECRET: &str = "jwt-secret";

/// Everything that outlives the program.
pub(super) struct Stores {
    pub(super) dynamo: Dynamo,
    pub(super) s3: S3,
    /// What tokens are signed with.
    pub(super) secret: SigningSecrets,
    pub(super) embedded: Embedded,
}

impl Stores {
    /// Starts what is embedded, and makes what is missing.
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        let mut folders = Folders::default();
        let store = folders.find(&config.store.place)?;
        let secret = match config.auth.secret.clone() {
            Some(secret) => secret,
            None => made_secret(store.as_ref())?,
        };
        let (embedded_dynamo, endpoint) = dynamo_server(&config.store, store)?;
        let (embedded_s3, s3_endpoint) = s3_server(config, folders.find(&config.files.place)?)?;
        let browsers_at = embedded_s3.as_ref().map(EmbeddedS3::public_address);
        let embedded = Embedded { dynamo: embedded_dynamo, s3: embedded_s3 };
        let dynamo = Dynamo::connect(endpoint, config.store.tables.clone()).await?;
        dynamo.create_missing_tables().await.context("the tables cannot be looked up or created")?;
        let FilesConfig { public_endpoint, buckets, .. } = config.files.clone();
        let s3 = S3::connect(s3_endpoint, public_endpoint.or(browsers_at), buckets).await?;
        s3.create_missing_buckets().await.context("the buckets cannot be looked up or created")?;
        Ok(Self { dynamo, s3, secret, embedded })
    }
}

/// The servers that the program brings along.
pub(super) struct Embedded {
    dynamo: Option<EmbeddedDynamo>,
    s3: Option<EmbeddedS3>,
}

impl Embedded {
    /// Blocks until what runs is done.
    pub(super) fn stop(self) {
        if let Some(s3) = self.s3 {
            s3.stop();
        }
        if let Some(dynamo) = self.dynamo {
            dynamo.stop();
        }
    }
}

/// The data folders that this program has locked: the embedded servers share one.
#[derive(Default)]
struct Folders(Vec<DataFolder>);

impl Folders {
    /// Where an embedded server keeps its data; `None` when the place is not embedded.
    fn find(&mut self, place: &Place) -> anyhow::Result<Option<Where>> {
        let path = match place {
            Place::Folder(path) => path,
            Place::Memory => return Ok(Some(Where::Memory)),
            Place::Named(_) => return Ok(None),
        };
        let locked = self.0.iter().find(|folder| folder.path() == path).cloned();
        let folder = match locked {
            Some(folder) => folder,
            None => {
                let folder = DataFolder::lock(path)?;
                self.0.push(folder.clone());
                folder
            }
        };
        Ok(Some(Where::File(folder)))
    }
}

fn dynamo_server(
    config: &StoreConfig,
    embedded: Option<Where>,
) -> anyhow::Result<(Option<EmbeddedDynamo>, Endpoint)> {
    let Some(embedded) = embedded else { return Ok((None, named_endpoint(&config.place))) };
    let server = EmbeddedDynamo::start_at(embedded, config.embedded_listen)?;
    let endpoint = Endpoint::Own(server.own_process());
    Ok((Some(server), endpoint))
}

fn s3_server(config: &Config, embedded: Option<Where>) -> anyhow::Result<(Option<EmbeddedS3>, Endpoint)> {
    let files = &config.files;
    let Some(embedded) = embedded else { return Ok((None, named_endpoint(&files.place))) };
    let admission = admission(&config.server.trusted_proxies);
    let server = EmbeddedS3::start_sharing(embedded, files.embedded_listen, admission)?;
    let endpoint = server.endpoint();
    Ok((Some(server), endpoint))
}

/// Which connections of browsers the embedded S3 serves: a quarter of them for one network, unless it is a trusted proxy's.
pub(crate) fn admission(trusted: &[IpNet]) -> Admission {
    let max = EmbeddedS3::PUBLIC_CONNECTIONS_MAX;
    let connections = Connections::new(Bounds { max, of_network: max / 4 }, trusted.to_vec());
    Arc::new(move |stream| connections.hold(stream).map(|held| Box::new(held) as Box<dyn Any + Send>))
}

fn named_endpoint(place: &Place) -> Endpoint {
    match place {
        Place::Named(endpoint) => endpoint.clone(),
        Place::Folder(_) | Place::Memory => Endpoint::Aws,
    }
}

/// The made-up secret. Its file may hold two, with a comma between them, while whoever runs this replaces it.
fn made_secret(store: Option<&Where>) -> anyhow::Result<SigningSecrets> {
    let secret = match store {
        Some(Where::File(folder)) => folder.secret(TOKEN_SECRET)?,
        Some(Where::Memory) | None => fresh_secret(),
    };
    SigningSecrets::parse(&secret).with_context(|| format!("a secret in {TOKEN_SECRET} is too short"))
}
