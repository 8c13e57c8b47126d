//! What doctors say of themselves, and who subscribes to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use engine::{Chance, Clock, DoctorId, Rejection, UserId};
use futures::future::try_join_all;
use persistence::{
    AccountsError, DocumentError, DocumentKind, Documents, FileName, ProfileChange, Subscription,
};

use super::doctors::lower_cased;
use super::documents::NewDocument;
use super::listing::{List, Listing};
use crate::error::{ApiError, FileRefusal};
use crate::peer::Network;
use crate::places::{Bounds, Place, Places, quarter_of};

/// How often a subscription is tried while others change the same rows.
const SUBSCRIBE_ATTEMPTS_MAX: u32 = 8;
/// The longest pause after the first attempt; it doubles with each.
const SUBSCRIBE_BACKOFF: Duration = Duration::from_millis(20);

/// Bodies with documents that are in memory at once, each some fifty megabytes on its way to the store.
const LARGE_BODIES: Bounds = Bounds {
    name: "documents",
    at_once: 6,
    of_network: quarter_of(6),
    waiting_max: 24,
    wait: Duration::from_secs(10),
    evicted_after: Some(Duration::from_secs(5)),
};
/// For how long a signed URL is handed out again; it is good for an hour.
const PHOTO_URL_KEPT: TimeDelta = TimeDelta::minutes(10);
/// Signed URLs that are kept, of half a kilobyte each.
const PHOTO_URLS_MAX: usize = 20_000;

/// Doctors' profiles.
pub(crate) struct Profiles {
    store: persistence::Profiles,
    documents: Documents,
    listing: Listing,
    /// Signing costs more than all else on a page: URLs by what the rows say.
    photos: Mutex<HashMap<String, (DateTime<Utc>, String)>>,
    large_bodies: Places<DoctorId>,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
}

/// Where documents are, as a row says it.
type Urls = Vec<(DocumentKind, String)>;

/// Whether a subscription was made or had been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subscribed {
    Now,
    Before,
}

impl Profiles {
    pub(crate) fn new(
        store: persistence::Profiles,
        documents: Documents,
        clock: Arc<dyn Clock>,
        chance: Arc<dyn Chance>,
    ) -> Self {
        let listing = Listing::new(store.clone(), Arc::clone(&clock));
        let large_bodies = Places::new(LARGE_BODIES);
        Self { store, documents, listing, photos: Mutex::default(), large_bodies, clock, chance }
    }

    /// Every doctor, as anybody may see them.
    pub(crate) async fn all(&self) -> Result<List, ApiError> {
        self.listing.all().await
    }

    /// Takes in what was done to a doctor's row elsewhere on this node.
    pub(crate) async fn changed(&self, doctor: &str) {
        self.listing.changed(doctor).await;
    }

    /// The URL under which anyone can fetch a photo, for the better part of an hour.
    pub(crate) async fn photo(&self, stored: &str) -> Option<String> {
        let now = self.clock.now();
        let kept = || self.photos.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = |signed: DateTime<Utc>| (TimeDelta::zero()..PHOTO_URL_KEPT).contains(&(now - signed));
        if let Some((_, url)) = kept().get(stored).filter(|(signed, _)| is_good(*signed)) {
            return Some(url.clone());
        }
        let url = self.documents.photo_url(stored, now).await?;
        let mut kept = kept();
        if kept.len() >= PHOTO_URLS_MAX {
            kept.clear();
        }
        kept.insert(stored.to_owned(), (now, url.clone()));
        Some(url)
    }

    /// A place for a body with documents, before any of it is read. A doctor has one at a time.
    pub(crate) async fn place_for_large_body(
        &self,
        doctor: &DoctorId,
        network: Network,
    ) -> Result<Place<DoctorId>, ApiError> {
        self.large_bodies.take(doctor.clone(), 1, network).await
    }

    /// Stores a doctor's documents, changes its profile and marks it as complete. Documents that the row named before are
    /// deleted.
    pub(crate) async fn complete(
        &self,
        doctor: &DoctorId,
        mut change: ProfileChange,
        documents: Vec<NewDocument>,
    ) -> Result<(), ApiError> {
        let superseded;
        (change.documents, superseded) = self.keep(doctor.as_str(), documents).await?;
        let outcome = self.store.complete(doctor.as_str(), change).await;
        self.changed(doctor.as_str()).await;
        match outcome {
            Ok(true) => {
                self.discard(doctor.as_str(), superseded).await;
                Ok(())
            }
            Ok(false) => Err(ApiError::Rejected(Rejection::DoctorNotFound)),
            Err(AccountsError::Unavailable(_)) => Err(ApiError::OutcomeUnknown),
            Err(error @ AccountsError::Refused(_)) => Err(error.into()),
        }
    }

    /// Stores documents, and says where they are, and where those are that they supersede. None is put in the place of
    /// an earlier one: until the row changes, that one counts, and what was deleted is named by no row again.
    async fn keep(&self, doctor: &str, documents: Vec<NewDocument>) -> Result<(Urls, Urls), ApiError> {
        if documents.is_empty() {
            return Ok((Urls::new(), Urls::new()));
        }
        let present = self.store.documents(doctor).await?;
        let present = present.ok_or(ApiError::Rejected(Rejection::DoctorNotFound))?;
        let puts = documents.into_iter().map(|NewDocument { kind, name, content_type, bytes }| {
            let is_first = !present.contains_key(&kind);
            let name = if is_first { name.as_str().to_owned() } else { self.another(&name) };
            async move {
                let put = self.documents.put(doctor, kind, &name, content_type, bytes).await;
                put.map(|url| (kind, url)).map_err(refused)
            }
        });
        let kept = try_join_all(puts).await?;
        let superseded =
            kept.iter().filter_map(|(kind, _)| Some((*kind, present.get(kind)?.clone()))).collect();
        Ok((kept, superseded))
    }

    /// Deletes documents that no row names any more.
    async fn discard(&self, doctor: &str, superseded: Urls) {
        for (kind, url) in superseded {
            if let Err(error) = self.documents.delete(doctor, kind, &url).await {
                tracing::warn!(%error, "a superseded document stays in the store");
            }
        }
    }

    /// A name like this one: `photo-1f2e3d4c.png`.
    fn another(&self, name: &FileName) -> String {
        let tag = self.chance.bits() >> 96;
        match name.as_str().rsplit_once('.') {
            Some((stem, extension)) => format!("{stem}-{tag:08x}.{extension}"),
            None => format!("{}-{tag:08x}", name.as_str()),
        }
    }

    /// Subscribes a patient to a doctor, and says under which address the doctor was found.
    pub(crate) async fn subscribe(
        &self,
        user: &UserId,
        as_sent: DoctorId,
    ) -> Result<(DoctorId, Subscribed), ApiError> {
        let outcome = match (self.subscribe_to(user, &as_sent).await, lower_cased(&as_sent)) {
            (Err(ApiError::Rejected(Rejection::DoctorNotFound)), Some(lower_cased)) => {
                let outcome = self.subscribe_to(user, &lower_cased).await;
                return outcome.map(|subscribed| (lower_cased, subscribed));
            }
            (outcome, _) => outcome,
        };
        outcome.map(|subscribed| (as_sent, subscribed))
    }

    async fn subscribe_to(&self, user: &UserId, doctor: &DoctorId) -> Result<Subscribed, ApiError> {
        for attempt in 0..SUBSCRIBE_ATTEMPTS_MAX {
            match self.store.subscribe(user, doctor).await? {
                Subscription::New => {
                    self.changed(doctor.as_str()).await;
                    return Ok(Subscribed::Now);
                }
                Subscription::Standing => return Ok(Subscribed::Before),
                // The token is of an account that is no more.
                Subscription::NoUser => return Err(ApiError::Unauthenticated),
                Subscription::NoDoctor => return Err(ApiError::Rejected(Rejection::DoctorNotFound)),
                Subscription::UserFull => return Err(ApiError::SubscriptionsFull),
                Subscription::DoctorFull => return Err(ApiError::SubscribersFull),
                Subscription::Unknown => {
                    self.changed(doctor.as_str()).await;
                    return Err(ApiError::OutcomeUnknown);
                }
                Subscription::Contended => {
                    let ceiling = SUBSCRIBE_BACKOFF * 2_u32.pow(attempt);
                    tokio::time::sleep(self.chance.jitter(ceiling)).await;
                }
            }
        }
        Err(ApiError::Busy)
    }
}

/// Why a document was not stored: the row still names what it did.
fn refused(error: DocumentError) -> ApiError {
    match error {
        DocumentError::NameTooLong => ApiError::File(FileRefusal::NameTooLong),
        DocumentError::Store(error) => error.into(),
    }
}
