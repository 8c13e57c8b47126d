//! A file as the body of a request: read piece by piece, and from the start again when the SDK repeats the request.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

/// How much is read at once.
const PIECE: usize = 64 * 1024;

/// The first `size` bytes of `file`, wherever it is positioned.
pub(super) fn of_file(file: File, size: u64) -> ByteStream {
    let file = Arc::new(file);
    ByteStream::new(SdkBody::retryable(move || {
        let pieces = Pieces { file: Arc::clone(&file), offset: 0, end: size, reading: None };
        SdkBody::from_body_1_x(pieces)
    }))
}

struct Pieces {
    file: Arc<File>,
    offset: u64,
    end: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Pieces {
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
