//! Uploads: up to [`BODY_BYTES_MAX`] of JSON, which never lies in memory. Pieces of the body go through a bounded queue
//! to a thread of the upload's own, which reads the JSON and writes the decoded contents to spool files. These have no
//! name in any folder: whatever happens to the upload or to the process, nothing of them stays behind.

mod body;
mod content;
mod document;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use actix_web::HttpRequest;
use actix_web::web::{Data, Payload};
use engine::UserId;
use persistence::{AuditAction, NewFile};

use crate::auth::Caller;
use crate::body::BodyLimit;
use crate::error::ApiError;
use crate::json;
use crate::metrics::ActiveUpload;
use crate::peer::Network;
use crate::places::{Bounds, Place, Places, quarter_of};
use crate::services::{Actor, Deed};
use crate::state::AppState;
use body::Turns;
use document::Document;

/// The longest file, in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// Files of one call.
pub(crate) const FILES_MAX: usize = 20;
/// The longest metadata of one file, in bytes of its keys and values: S3 keeps no more.
const METADATA_BYTES_MAX: usize = 2 * 1024;
/// What a body may hold besides the files' contents.
const OTHER_BYTES_MAX: u64 = 1024 * 1024;
/// The longest content, in base64 with a line break after each 64 characters (RFC 7468 has the shortest lines in use).
const CONTENT_CHARS_MAX: u64 = {
    let base64 = FILE_BYTES_MAX.div_ceil(3) * 4;
    base64 + base64 / 64 * 2
};
/// The longest body: every content at its longest, and one part in 32 more for escaped line breaks and slashes.
const BODY_BYTES_MAX: u64 = with_escapes(FILES_MAX as u64 * CONTENT_CHARS_MAX) + OTHER_BYTES_MAX;
/// The bounds of the route. In this time the slowest phone that is fast enough at all sends two of the longest files, and
/// two megabits a second send twenty.
pub(crate) const BODY_LIMIT: BodyLimit =
    BodyLimit { bytes: BODY_BYTES_MAX as usize, timeout: Duration::from_secs(20 * 60) };
/// Uploads at once, whose spool files take up to 200 MiB each. A slow one makes room for another when all places are taken.
const PLACES: Bounds = Bounds {
    name: "uploads",
    at_once: 24,
    of_network: quarter_of(24),
    waiting_max: 24,
    wait: Duration::from_secs(2),
    evicted_after: Some(Duration::from_secs(5)),
};
/// Uploads of one user at once.
const OF_ONE_USER: usize = 2;

/// Takes in uploads.
pub(crate) struct Uploads {
    spool: PathBuf,
    places: Places<UserId>,
    turns: Turns,
}

/// An upload that arrived whole. Nobody has checked yet whose files they are.
pub(crate) struct Received {
    document: Document,
    place: Taken,
}

/// An upload's place, free again when dropped.
struct Taken {
    _place: Place<UserId>,
    _counted: ActiveUpload,
}

/// An upload that may be stored.
pub(crate) struct Upload {
    files: Vec<NewFile>,
    place: Taken,
}

const fn with_escapes(content: u64) -> u64 {
    content + content / 32
}

impl Uploads {
    /// Spools to this folder, which is made if it is missing.
    pub(crate) fn new(spool: PathBuf) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&spool)?;
        Ok(Self { spool, places: Places::new(PLACES), turns: Turns::default() })
    }

    /// Reads a user's upload to its end, whatever it says.
    pub(crate) async fn receive(
        &self,
        request: &HttpRequest,
        payload: Payload,
        user: &UserId,
        network: Network,
    ) -> Result<Received, ApiError> {
        json::require_json(request)?;
        let limit = BodyLimit::of(request)?;
        limit.check_head(request)?;
        let place = self.places.take(user.clone(), OF_ONE_USER, network).await?;
        let progress = place.progress();
        let place = Taken { _place: place, _counted: ActiveUpload::begin() };
        let (sender, pieces) = body::queue(&self.turns);
        let spool = self.spool.clone();
        // The place goes with the thread: it is free again when the last spool file is gone.
        let reading = tokio::task::spawn_blocking(move || {
            document::read(pieces, &spool).map(|document| Received { document, place })
        });
        let patience = AppState::of(request)?.server.body_timeout;
        let fed = body::feed(payload.into_inner(), sender, limit, patience, Some(progress)).await;
        let read = reading.await.map_err(ApiError::internal)?;
        fed?;
        read
    }
}

impl Received {
    /// Whose files they are said to be; `None` when the field is absent or no text.
    pub(crate) fn raw_email(&self) -> Option<&str> {
        self.document.raw_email()
    }

    /// The upload, if every value of it is valid.
    pub(crate) fn parse(self) -> Result<Upload, ApiError> {
        Ok(Upload { files: self.document.files()?, place: self.place })
    }
}

impl Upload {
    /// Stores the files in the caller's locker, all or none. It goes on when the caller hangs up.
    pub(crate) async fn store(self, app: Data<AppState>, by: Actor, caller: Caller) -> Result<(), ApiError> {
        let storing = actix_web::rt::spawn(async move {
            let Self { files, place } = self;
            let deed =
                |file: &NewFile| Deed::own_file(AuditAction::FileUploaded, &caller, file.name.as_str());
            let deeds: Vec<Deed> = files.iter().map(deed).collect();
            let upload = Box::pin(async { Ok(app.locker.upload(caller.address(), files, app.now()).await?) });
            let stored = app.audit.change(&by, deeds, upload).await;
            drop(place);
            stored
        });
        storing.await.map_err(ApiError::internal)?
    }
}
