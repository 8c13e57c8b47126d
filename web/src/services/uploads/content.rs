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
    let mut decoder = DecoderReader::new(characters, &BASE64);
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

#[cfg(test)]
mod tests {
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
    fn nothing_else_passes_for_base64() {
        let text = "A".repeat(5_000);
        for characters in [
            "Y",
            "YQ==YQ==",
            "YQ==\n",
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
