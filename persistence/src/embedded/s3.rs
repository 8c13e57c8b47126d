//! The S3 of the default run, on loopback, over files, on threads of its own.
//!
//! Signatures alone decide who may call. The secret is kept in the data folder, so a browser gets in only with a URL that
//! we have signed.
//!
//! It listens twice: for browsers, at an address that can be chosen and whose connections an [`Admission`] bounds, and for
//! programs that have the key, at a hidden address of loopback. Each has connections and a thread of its own, so that
//! whatever browsers do, the program's own calls have room.

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

use super::http::{self, Admission};
use super::objects::Objects;
use super::reads::Reads;
use super::s3_calls::Calls;
use super::{EmbeddedError, Where};
use crate::aws::{AccessKeys, Endpoint};
use crate::data_folder::{Announced, DataFolder, make_private};

/// Where the files are, in the data folder.
const FOLDER: &str = "s3";
/// How long a client may leave what was sent to it unread before it is cut off.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest body, in bytes, that is taken into memory whole.
const BODY_IN_MEMORY_MAX: usize = 16 * 1024;
/// Threads of each listener that read, write and flush files.
const FILE_THREADS: usize = 16;

/// A running server. Dropping it stops it.
pub struct EmbeddedS3 {
    /// Where programs call.
    address: SocketAddr,
    /// Where browsers call.
    public_address: SocketAddr,
    keys: AccessKeys,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
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

    /// The most connections of browsers that are open at once; more wait to be accepted.
    pub const PUBLIC_CONNECTIONS_MAX: usize = http::CONNECTIONS_MAX;

    /// Serves the files in `place`, browsers at `listen` or at a free port of the loopback address. Whoever has a link may
    /// have all connections there.
    pub fn start(place: Where, listen: Option<SocketAddr>) -> Result<Self, EmbeddedError> {
        Self::start_sharing(place, listen, http::everybody())
    }

    /// The same, where `admission` decides about each connection of a browser.
    pub fn start_sharing(
        place: Where,
        listen: Option<SocketAddr>,
        admission: Admission,
    ) -> Result<Self, EmbeddedError> {
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
        let listener = http::listen_hidden()?;
        let public = TcpListener::bind(listen.unwrap_or((Ipv4Addr::LOCALHOST, 0).into()))?;
        for listener in [&listener, &public] {
            listener.set_nonblocking(true)?;
            // Every connection that is accepted inherits it.
            #[cfg(target_os = "linux")]
            SockRef::from(listener).set_tcp_user_timeout(Some(UNREAD_TIMEOUT))?;
        }
        let (address, public_address) = (listener.local_addr()?, public.local_addr()?);
        let calls = Calls::new(objects);
        let config = Arc::new(StaticConfigProvider::new(Arc::new(bounds())));
        let mut service = S3ServiceBuilder::new(calls.clone());
        service.set_config(Arc::clone(&config) as _);
        service.set_route(Reads::new(calls, config));
        service.set_auth(SimpleAuth::from_single(keys.id.clone(), keys.secret.clone()));
        let service = service.build();
        let (stop, stopping) = watch::channel(false);
        // From here on a failure drops the server, which stops the threads that run already.
        let mut server =
            Self { address, public_address, keys, stop, threads: Vec::new(), announced: None, kept };
        for (name, listening) in [("s3", (listener, http::everybody())), ("s3-public", (public, admission))] {
            let (service, stopping) = (service.clone(), stopping.clone());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(FILE_THREADS)
                .build()?;
            let serve = move || runtime.block_on(http::serve("embedded S3", listening, service, stopping));
            server.threads.push(std::thread::Builder::new().name(name.to_owned()).spawn(serve)?);
        }
        if let Kept::Folder(folder) = &server.kept {
            server.announced = Some(folder.announce(Self::NAME, &server.address())?);
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
        Endpoint::With { address: self.address(), keys: self.keys.clone() }
    }

    fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where browsers of this machine reach it: the address for links.
    pub fn public_address(&self) -> String {
        let mut address = self.public_address;
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
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the embedded S3 died");
            }
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
