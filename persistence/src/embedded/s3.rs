//! The S3 of the default run, on loopback, over files, on threads of its own.
//!
//! Signatures alone decide who may call. The secret is kept in the data folder, so a browser gets in only with a URL that
//! we have signed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use s3s::auth::SimpleAuth;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::S3ServiceBuilder;
use socket2::SockRef;
use tempfile::TempDir;
use tokio::sync::watch;

use super::objects::Objects;
use super::reads::Reads;
use super::s3_calls::Calls;
use super::{EmbeddedError, Where, http};
use crate::aws::{AccessKeys, Endpoint};
use crate::data_folder::{Announced, DataFolder, make_private};

/// Where the files are, in the data folder.
const FOLDER: &str = "s3";
/// How long a client may leave what was sent to it unread before it is cut off.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest body, in bytes, that is taken into memory whole.
const BODY_IN_MEMORY_MAX: usize = 16 * 1024;
/// Threads that read, write and flush files.
const FILE_THREADS: usize = 16;

/// A running server. Dropping it stops it.
pub struct EmbeddedS3 {
    address: SocketAddr,
    keys: AccessKeys,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    /// Gone before the folder is anybody else's.
    announced: Option<Announced>,
    kept: Kept,
}

/// What must not go before the server does.
enum Kept {
    Folder(DataFolder),
    Scratch { _folder: TempDir },
}

impl EmbeddedS3 {
    /// What its address is called in the data folder.
    const NAME: &str = "s3";

    /// Serves the files in `place` at `listen`, or at a free port of the loopback address.
    pub fn start(place: Where, listen: Option<SocketAddr>) -> Result<Self, EmbeddedError> {
        let keys = AccessKeys::of(&place)?;
        let (root, kept): (PathBuf, Kept) = match place {
            Where::File(folder) => {
                let root = folder.path().join(FOLDER);
                make_private(&root)?;
                (root, Kept::Folder(folder))
            }
            Where::Memory => {
                let folder = tempfile::tempdir()?;
                (folder.path().to_owned(), Kept::Scratch { _folder: folder })
            }
        };
        let objects = Objects::open(&root)?;
        let listener = TcpListener::bind(listen.unwrap_or((Ipv4Addr::LOCALHOST, 0).into()))?;
        listener.set_nonblocking(true)?;
        // Every connection that is accepted inherits it.
        #[cfg(target_os = "linux")]
        SockRef::from(&listener).set_tcp_user_timeout(Some(UNREAD_TIMEOUT))?;
        let address = listener.local_addr()?;
        let calls = Calls::new(objects);
        let config = Arc::new(StaticConfigProvider::new(Arc::new(bounds())));
        let mut service = S3ServiceBuilder::new(calls.clone());
        service.set_config(Arc::clone(&config) as _);
        service.set_route(Reads::new(calls, config));
        service.set_auth(SimpleAuth::from_single(keys.id.clone(), keys.secret.clone()));
        let service = service.build();
        let (stop, stopping) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(FILE_THREADS)
            .build()?;
        let thread = std::thread::Builder::new()
            .name("s3".to_owned())
            .spawn(move || runtime.block_on(http::serve("embedded S3", listener, service, stopping)))?;
        // From here on a failure drops the server, which stops its thread.
        let mut server = Self { address, keys, stop, thread: Some(thread), announced: None, kept };
        if let Kept::Folder(folder) = &server.kept {
            server.announced = Some(folder.announce(Self::NAME, &server.url())?);
        }
        Ok(server)
    }

    /// How a program that does not have the folder reaches the server of the one that has; `None` when none runs there.
    pub fn running_in(folder: &Path) -> Result<Option<Endpoint>, EmbeddedError> {
        let Some(address) = DataFolder::address(folder, Self::NAME)? else { return Ok(None) };
        Ok(Some(Endpoint::With { address, keys: AccessKeys::kept_in(folder)? }))
    }

    /// Where and with which keys a program on this machine reaches it.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::With { address: self.url(), keys: self.keys.clone() }
    }

    fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}")
    }

    /// Stops accepting and lets running requests finish for a few seconds. Blocks meanwhile.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for EmbeddedS3 {
    fn drop(&mut self) {
        self.announced = None;
        self.stop.send_replace(true);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the embedded S3 died");
        }
    }
}

/// What is taken into memory before a signature is checked: no call of ours sends a document or a form.
fn bounds() -> S3Config {
    let mut config = S3Config::default();
    config.xml_max_body_size = BODY_IN_MEMORY_MAX;
    config.form_max_field_size = BODY_IN_MEMORY_MAX;
    config.form_max_fields_size = BODY_IN_MEMORY_MAX;
    config.form_max_parts = 1;
    config.post_object_max_file_size = 0;
    config
}
