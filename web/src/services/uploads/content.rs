//! The content of one file: base64, decoded on its way to the disk.

use std::io::{self, Read, Write};

use base64::DecodeError;
use base64::read::DecoderReader;

use super::FILE_BYTES_MAX;
use crate::services::documents::BASE64;

/// Why a content was not decoded to its end.
#[derive(Debug)]
pub(super) enum Undecodable {
    /// It is no base64. The rest is still to be read.
    NotBase64,
    /// The file is too long.
    TooLong,
    /// It could not be read.
    Unreadable,
    /// It could not be written.
    Unwritable(io::Error),
}

/// Writes what the characters stand for, and says how many bytes that were.
pub(super) fn decode(characters: impl Read, mut file: impl Write) -> Result<u64, Undecodable> {
    let mut decoder = DecoderReader::new(WithoutLineBreaks(characters), &BASE64);
    let mut buffer = vec![0; 8 * 1024];
    let mut size: u64 = 0;
    loop {
        let read = match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.get_ref().is_some_and(|error| error.is::<DecodeError>()) => {
                return Err(Undecodable::NotBase64);
            }
            Err(_) => return Err(Undecodable::Unreadable),
        };
        size += read as u64;
        if size > FILE_BYTES_MAX {
            return Err(Undecodable::TooLong);
        }
        file.write_all(&buffer[..read]).map_err(Undecodable::Unwritable)?;
    }
    file.flush().map_err(Undecodable::Unwritable)?;
    Ok(size)
}

/// Base64 as encoders for mail and certificates write it, in lines (RFC 2045, 6.8), without their ends.
struct WithoutLineBreaks<R>(R);

impl<R: Read> Read for WithoutLineBreaks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.0.read(buffer)?;
            let mut kept = 0;
            for n in 0..read {
                if !matches!(buffer[n], b'\r' | b'\n') {
                    buffer[kept] = buffer[n];
                    kept += 1;
                }
            }
            // Nothing at all would be the end.
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use super::*;

    fn decoded(characters: &str) -> Result<Vec<u8>, Undecodable> {
        let mut bytes = Vec::new();
        decode(characters.as_bytes(), &mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn padding_may_be_left_out() {
        for (characters, bytes) in
            [("", ""), ("YQ==", "a"), ("YQ", "a"), ("YWI=", "ab"), ("YWI", "ab"), ("YWJj", "abc")]
        {
            assert_eq!(decoded(characters).unwrap(), bytes.as_bytes(), "{characters}");
        }
    }

    #[test]
    fn line_breaks_are_skipped_wherever_they_are() {
        let bytes: Vec<u8> = (0..=255).cycle().take(20_000).collect();
        let base64 = BASE64.encode(&bytes);
        for length in [1, 3, 64, 76, 8 * 1024] {
            for line_break in ["\n", "\r\n", "\r", "\n\n\n"] {
                let lines: Vec<&str> = (0..base64.len())
                    .step_by(length)
                    .map(|at| &base64[at..base64.len().min(at + length)])
                    .collect();
                assert_eq!(decoded(&lines.join(line_break)).unwrap(), bytes, "{length} {line_break:?}");
            }
        }
        assert_eq!(decoded("\r\nYQ=\n=\n").unwrap(), b"a");
        assert_eq!(decoded("\n\n").unwrap(), b"");
    }

    #[test]
    fn nothing_else_passes_for_base64() {
        let text = "A".repeat(5_000);
        for characters in [
            "Y",
            "YQ==YQ==",
            "Y Q",
            "YR==",
            "=",
            "-_8=",
            "data:text/plain;base64,YQ==",
            "अ",
            &format!("{text}*"),
            &format!("{text}=AAA"),
        ] {
            assert!(matches!(decoded(characters), Err(Undecodable::NotBase64)), "{characters:.40}");
        }
    }

    #[test]
    fn a_file_ends_at_its_longest() {
        let longest = usize::try_from(FILE_BYTES_MAX).unwrap();
        let characters = |bytes: usize| "A".repeat(bytes.div_ceil(3) * 4 - (3 - bytes % 3) % 3);
        assert_eq!(decode(characters(longest).as_bytes(), io::sink()).unwrap(), FILE_BYTES_MAX);
        let longer = decode(characters(longest + 1).as_bytes(), io::sink());
        assert!(matches!(longer, Err(Undecodable::TooLong)));
    }
}
