//! The way of a body from its connection to the thread that reads it.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::web::Bytes;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::body::{BodyLimit, Incoming};
use crate::error::ApiError;
use crate::places::Progress;

/// Pieces that wait for the thread. A piece is what the connection read at once, some ten kilobytes.
const PIECES_WAITING: usize = 4;

/// What the connection gives. A queue that closes before the end has come is a body that was cut off.
pub(super) enum Piece {
    Bytes(Bytes),
    End,
}

/// Whose turn it is to work on a piece. Uploads take turns, so that they never keep more than one core from the rest.
#[derive(Default)]
pub(super) struct Turns(Arc<Mutex<()>>);

/// The reading end of the queue, for a thread that may wait.
pub(super) struct Pieces {
    queue: Receiver<Piece>,
    current: Bytes,
    turns: Arc<Mutex<()>>,
    turn: Option<OwnedMutexGuard<()>>,
}

/// A queue from the connection to the thread.
pub(super) fn queue(turns: &Turns) -> (Sender<Piece>, Pieces) {
    let (sender, queue) = mpsc::channel(PIECES_WAITING);
    (sender, Pieces { queue, current: Bytes::new(), turns: Arc::clone(&turns.0), turn: None })
}

/// Passes the body on until it ends, is too long, comes too slowly, or the thread has no use for the rest. `patience`
/// is how long the client may be silent, and its head start on the rate.
pub(super) async fn feed(
    payload: Payload,
    queue: Sender<Piece>,
    limit: BodyLimit,
    patience: Duration,
    progress: Option<Progress>,
) -> Result<(), ApiError> {
    let mut body = Incoming::new(payload, limit, patience, progress);
    loop {
        let piece = tokio::select! {
            piece = body.next() => piece?.map_or(Piece::End, Piece::Bytes),
            () = queue.closed() => return Ok(()),
        };
        let is_end = matches!(piece, Piece::End);
        if queue.send(piece).await.is_err() || is_end {
            return Ok(());
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            self.turn = None;
            match self.queue.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.current = bytes,
                Some(Piece::End) => return Ok(0),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        if self.turn.is_none() {
            self.turn = Some(Arc::clone(&self.turns).blocking_lock_owned());
        }
        let some = self.current.split_to(self.current.len().min(buffer.len()));
        buffer[..some.len()].copy_from_slice(&some);
        Ok(some.len())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::error::PayloadError;
    use futures::StreamExt;
    use futures::stream::{self, LocalBoxStream};

    use super::*;

    const LIMIT: BodyLimit = BodyLimit { bytes: 8, timeout: Duration::from_secs(60) };
    const PATIENCE: Duration = Duration::from_secs(60);

    fn payload(pieces: &[Result<&'static str, ()>]) -> LocalBoxStream<'static, Result<Bytes, PayloadError>> {
        let pieces = pieces.iter().map(|piece| match piece {
            Ok(text) => Ok(Bytes::from_static(text.as_bytes())),
            Err(()) => Err(PayloadError::Incomplete(None)),
        });
        stream::iter(pieces.collect::<Vec<_>>()).boxed_local()
    }

    /// What becomes of a body, and what a thread reads of it.
    async fn fed(pieces: &[Result<&'static str, ()>]) -> (Result<(), ApiError>, io::Result<String>) {
        let (sender, mut reader) = queue(&Turns::default());
        let reading = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        let fed = feed(Payload::Stream { payload: payload(pieces) }, sender, LIMIT, PATIENCE, None).await;
        (fed, reading.await.unwrap())
    }

    #[actix_web::test]
    async fn a_body_arrives_as_it_was_sent() {
        let (fed, read) = fed(&[Ok("ab"), Ok(""), Ok("cdef"), Ok("gh")]).await;
        assert!(fed.is_ok());
        assert_eq!(read.unwrap(), "abcdefgh");
    }

    #[actix_web::test]
    async fn a_body_that_was_cut_off_or_is_too_long_has_no_end() {
        let (cut, read) = fed(&[Ok("ab"), Err(())]).await;
        assert!(matches!(cut, Err(ApiError::InvalidJson)));
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let (long, read) = fed(&[Ok("abcdefgh"), Ok("i")]).await;
        assert!(matches!(long, Err(ApiError::BodyTooLarge(8))));
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[actix_web::test]
    async fn a_client_that_is_silent_is_cut_off() {
        let (sender, _reader) = queue(&Turns::default());
        let silent = Payload::Stream { payload: stream::pending().boxed_local() };
        let fed = feed(silent, sender, LIMIT, Duration::ZERO, None).await;
        assert!(matches!(fed, Err(ApiError::BodyTooSlow)));
    }

    #[actix_web::test]
    async fn nobody_reads_on_for_a_thread_that_has_ended() {
        let (sender, reader) = queue(&Turns::default());
        drop(reader);
        let silent = Payload::Stream { payload: stream::pending().boxed_local() };
        assert!(feed(silent, sender, LIMIT, PATIENCE, None).await.is_ok());
    }

    #[actix_web::test]
    async fn a_turn_ends_where_the_next_piece_has_not_come_yet() {
        let turns = Turns::default();
        let (sender, mut reader) = queue(&turns);
        sender.send(Piece::Bytes(Bytes::from_static(b"ab"))).await.ok().unwrap();
        let mut byte = [0];
        let reading = tokio::task::spawn_blocking(move || {
            reader.read_exact(&mut byte).unwrap();
            reader
        });
        let mut reader = reading.await.unwrap();
        assert!(turns.0.try_lock().is_err());
        sender.send(Piece::End).await.ok().unwrap();
        let reading = tokio::task::spawn_blocking(move || {
            let mut rest = String::new();
            reader.read_to_string(&mut rest).unwrap();
            (reader, rest)
        });
        let (_reader, rest) = reading.await.unwrap();
        assert_eq!(rest, "b");
        assert!(turns.0.try_lock().is_ok());
    }
}
