//! Pages of the public list of doctors, rendered once and shared by everybody who asks for them.

use std::future::Future;
use std::sync::Arc;

use actix_web::http::header::{ContentType, ETAG, EntityTag, IF_NONE_MATCH, IfNoneMatch};
use actix_web::web::Bytes;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use ring::digest::{SHA256, digest};

use super::listing::Filter;
use crate::error::ApiError;
use crate::outgoing::{Counted, Reserved};

/// Bytes of pages that are kept.
const KEPT_BYTES: u64 = 16 * 1024 * 1024;
/// Pages that are kept, as an estimate.
const KEPT_PAGES: usize = 64;

/// What determines the content of a page.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct PageKey {
    /// The version of the list.
    pub(crate) list: u64,
    /// Which doctors it shows.
    pub(crate) filter: Filter,
    /// The last address on the page before.
    pub(crate) after: Option<String>,
    /// How many doctors it shows at most.
    pub(crate) limit: usize,
}

/// A page as it is sent. Its bytes are counted once, however many clients have not read them yet.
#[derive(Clone)]
pub(crate) struct Page {
    json: Bytes,
    tag: EntityTag,
    reserved: Arc<Reserved>,
}

/// Pages that were asked for lately.
pub(crate) struct Pages(Cache<PageKey, Page, Length>);

#[derive(Clone)]
struct Length;

impl Weighter<PageKey, Page> for Length {
    fn weight(&self, _: &PageKey, page: &Page) -> u64 {
        page.json.len() as u64
    }
}

impl Pages {
    /// No pages yet.
    pub(crate) fn new() -> Self {
        Self(Cache::with_weighter(KEPT_PAGES, KEPT_BYTES, Length))
    }

    /// The page under this key. However many ask for it at once, it is rendered once.
    pub(crate) async fn get<F>(&self, key: &PageKey, render: impl FnOnce() -> F) -> Result<Page, ApiError>
    where
        F: Future<Output = Result<Page, ApiError>>,
    {
        self.0.get_or_insert_async(key, async { render().await }).await
    }
}

impl Page {
    /// A page of JSON whose bytes are counted.
    pub(crate) fn new(json: Vec<u8>, reserved: Reserved) -> Self {
        let tag = EntityTag::new_strong(hex::encode(&digest(&SHA256, &json).as_ref()[..16]));
        Self { json: json.into(), tag, reserved: Arc::new(reserved) }
    }

    /// The answer: the page, or that the client has it already.
    pub(crate) fn answer(self, request: &HttpRequest) -> HttpResponse {
        let is_known = match request.headers().contains_key(IF_NONE_MATCH).then(|| request.get_header()) {
            Some(Some(IfNoneMatch::Items(tags))) => tags.iter().any(|tag| tag.weak_eq(&self.tag)),
            Some(Some(IfNoneMatch::Any)) => true,
            Some(None) | None => false,
        };
        if is_known {
            return HttpResponse::NotModified().insert_header((ETAG, self.tag)).finish();
        }
        let mut answer = HttpResponse::Ok()
            .insert_header(ContentType::json())
            .insert_header((ETAG, self.tag))
            .body(self.json);
        answer.extensions_mut().insert(Counted(self.reserved));
        answer
    }
}
