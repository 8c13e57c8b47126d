//! Answers on their way out. A client that does not read keeps what it asked for in memory, so large answers are handed
//! to the connection piece by piece, and the bytes that are not yet read are bounded in all and for each network.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::web::Bytes;

use crate::error::ApiError;
use crate::peer::{Block, Network, Peer};
use crate::state::AppState;

/// Answers up to this length are handed over whole: a connection buffers about as much as it is.
const WHOLE_MAX: usize = 64 * 1024;
/// What the connection is handed at once of a longer one.
const PIECE: usize = 32 * 1024;
/// Bytes of longer answers that are not yet read, in all.
const UNREAD_MAX: usize = 128 * 1024 * 1024;
/// The same for one network. A single answer may be longer.
const UNREAD_OF_NETWORK_MAX: usize = UNREAD_MAX / 4;

/// Counts the bytes of answers that are in memory until they are read.
#[derive(Clone, Default)]
pub(crate) struct Unread(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    all: usize,
    networks: HashMap<Block, usize>,
}

/// Bytes that are counted until this is dropped.
pub(crate) struct Reserved {
    bytes: usize,
    block: Block,
    unread: Unread,
}

/// Left with an answer whose bytes are counted already, such as a page that many answers share.
#[derive(Clone)]
pub(crate) struct Counted(pub(crate) Arc<Reserved>);

/// A long body, handed over piece by piece.
struct Pieces {
    rest: Bytes,
    _reserved: Arc<Reserved>,
}

impl Unread {
    /// Counts an answer, or refuses as busy where too much is unread already.
    pub(crate) fn reserve(&self, bytes: usize, network: Network) -> Result<Reserved, ApiError> {
        let block = network.widest();
        let mut counts = self.lock();
        let own = counts.networks.get(&block).copied().unwrap_or(0);
        let is_first = own == 0 && bytes <= UNREAD_MAX;
        if counts.all + bytes > UNREAD_MAX || (own + bytes > UNREAD_OF_NETWORK_MAX && !is_first) {
            return Err(ApiError::Busy);
        }
        counts.all += bytes;
        counts.networks.insert(block, own + bytes);
        Ok(Reserved { bytes, block, unread: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut counts = self.unread.lock();
        counts.all -= self.bytes;
        match counts.networks.get_mut(&self.block) {
            Some(own) if *own > self.bytes => *own -= self.bytes,
            Some(_) | None => drop(counts.networks.remove(&self.block)),
        }
    }
}

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let length = self.rest.len().min(PIECE);
        Poll::Ready((length > 0).then(|| Ok(self.rest.split_to(length))))
    }
}

/// Whether an answer is handed to the connection whole.
pub(crate) fn is_short(body: &BoxBody) -> bool {
    match body.size() {
        BodySize::None => true,
        BodySize::Sized(length) => usize::try_from(length).is_ok_and(|length| length <= WHOLE_MAX),
        BodySize::Stream => false,
    }
}

/// Bounds what a long answer keeps in memory. Answers that stream, and short ones, pass as they are.
pub(crate) fn bound(answer: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let body = answer.response().body();
    if is_short(body) || matches!(body.size(), BodySize::Stream) {
        return answer;
    }
    let (request, response) = answer.into_parts();
    let counted = response.extensions().get::<Counted>().cloned();
    let (head, body) = response.into_parts();
    let whole = match body.try_into_bytes() {
        Ok(whole) => whole,
        Err(body) => return ServiceResponse::new(request, head.set_body(body)),
    };
    let reserved = match counted {
        Some(Counted(reserved)) => Ok(reserved),
        None => AppState::of(&request).and_then(|app| {
            let network = Network::of(Peer::of(&request)?.address);
            app.unread.reserve(whole.len(), network).map(Arc::new)
        }),
    };
    match reserved {
        Ok(reserved) => {
            let pieces = Pieces { rest: whole, _reserved: reserved };
            ServiceResponse::new(request, head.set_body(BoxBody::new(pieces)))
        }
        Err(refusal) => ServiceResponse::from_err(refusal, request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(n: u8) -> Network {
        Network::of(std::net::IpAddr::from([10, 0, 0, n]))
    }

    #[test]
    fn a_network_has_a_quarter_and_all_networks_have_the_whole() {
        let unread = Unread::default();
        let megabyte = 1024 * 1024;
        let take = |n| -> Vec<Reserved> {
            std::iter::from_fn(|| unread.reserve(megabyte, network(n)).ok()).take(200).collect()
        };
        let held: Vec<_> = (1..=5).map(take).collect();
        assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [32, 32, 32, 32, 0]);
        drop(held);
        let counts = unread.lock();
        assert!(counts.all == 0 && counts.networks.is_empty());
    }

    #[test]
    fn a_single_answer_may_be_longer_than_a_networks_share() {
        let unread = Unread::default();
        let long = unread.reserve(UNREAD_OF_NETWORK_MAX + 1, network(1));
        assert!(long.is_ok() && unread.reserve(1, network(1)).is_err());
        assert!(unread.reserve(UNREAD_MAX, network(2)).is_err());
    }
}
