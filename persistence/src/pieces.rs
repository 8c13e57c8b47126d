//! A file as the body of a request or an answer, read piece by piece.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

/// How much is read at once.
const PIECE: usize = 64 * 1024;

/// A part of a file, wherever the file is positioned.
pub(crate) struct Pieces {
    file: Arc<File>,
    offset: u64,
    end: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Pieces {
    /// The bytes in `range`, all of which the file must have.
    pub(crate) const fn of(file: Arc<File>, range: Range<u64>) -> Self {
        Self { file, offset: range.start, end: range.end, reading: None }
    }

    /// Reads the next piece on a thread that may block.
    fn read(&self) -> JoinHandle<io::Result<Bytes>> {
        let (file, offset) = (Arc::clone(&self.file), self.offset);
        let length = usize::try_from(self.end - self.offset).unwrap_or(PIECE).min(PIECE);
        tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; length];
            file.read_exact_at(&mut piece, offset)?;
            Ok(Bytes::from(piece))
        })
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.reading.is_none() && self.offset < self.end {
            self.reading = Some(self.read());
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let read = ready!(Pin::new(reading).poll(context)).unwrap_or_else(|died| Err(io::Error::other(died)));
        self.reading = None;
        Poll::Ready(Some(read.map(|piece| {
            self.offset += piece.len() as u64;
            Frame::data(piece)
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.offset == self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.offset)
    }
}
