//! `fjall`'s journals, read as far as it takes to cut off a write that was not finished.
//!
//! A write is a start (how many entries, which number), its entries, and an end (their checksum). There is one write at a time,
//! and it is flushed before the next one: so only the last can be torn.

use std::fs::{self, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

/// How a journal's file ends.
const SUFFIX: &str = "jnl";
/// The first byte of a write.
const START: u8 = 1;
/// The last bytes of a write.
const MAGIC: [u8; 4] = *b"FJL\x03";
/// The largest entry: an item of 400 KB may be several times as long as JSON.
const ENTRY_MAX: usize = 16 * 1024 * 1024;
/// Bytes that are looked through at once.
const PIECE: u64 = 1024 * 1024;

/// The journals of a folder, the oldest first.
pub(super) fn all(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let (Some(number), true) = (number, path.extension().is_some_and(|suffix| suffix == SUFFIX)) {
            journals.push((number, path));
        }
    }
    journals.sort();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

/// Cuts off the write of this number, which failed, and what follows it.
pub(super) fn cut_from(folder: &Path, number: u64) -> io::Result<()> {
    for journal in all(folder)? {
        let mut writes = Writes::of(&journal)?;
        let mut end = 0;
        loop {
            match writes.next()? {
                Found::Write { number: own, .. } if own >= number => break cut(&journal, end)?,
                Found::Write { is_whole: true, .. } => end = writes.at,
                Found::Write { is_whole: false, .. } | Found::Nothing => break,
            }
        }
    }
    Ok(())
}

/// Whether a whole write follows something that cannot be read: that was flushed, and has been damaged since. A crash leaves
/// nothing like it, and `fjall` would take what comes before it for all there is.
pub(super) fn is_damaged(folder: &Path) -> io::Result<bool> {
    for journal in all(folder)? {
        if whole_write_after(&journal, readable(&journal)?)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Cuts off what cannot be read at the end of the last journal, which [is not damaged](is_damaged).
pub(super) fn cut_torn(folder: &Path) -> io::Result<()> {
    let Some(journal) = all(folder)?.pop() else { return Ok(()) };
    tracing::warn!("the last write was cut short by a crash, and is forgotten: nobody was told of it");
    cut(&journal, readable(&journal)?)
}

/// Where the last whole write ends before the first that is not.
fn readable(journal: &Path) -> io::Result<u64> {
    let mut writes = Writes::of(journal)?;
    let mut end = 0;
    while let Found::Write { is_whole: true, .. } = writes.next()? {
        end = writes.at;
    }
    Ok(end)
}

/// Whether a whole write begins somewhere behind what was read last.
fn whole_write_after(journal: &Path, from: u64) -> io::Result<bool> {
    let (mut file, mut writes) = (fs::File::open(journal)?, Writes::of(journal)?);
    let mut start = from;
    loop {
        file.seek(SeekFrom::Start(start))?;
        let mut piece = Vec::new();
        (&mut file).take(PIECE).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Ok(false);
        }
        for (at, _) in piece.iter().enumerate().filter(|(_, byte)| **byte == START) {
            writes.reader.seek(SeekFrom::Start(start + at as u64))?;
            if let Found::Write { is_whole: true, .. } = writes.next()? {
                return Ok(true);
            }
        }
        start += piece.len() as u64;
    }
}

fn cut(journal: &Path, end: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(journal)?;
    file.set_len(end)?;
    file.sync_all()
}

/// What comes next in a journal.
enum Found {
    /// All entries are there, and an end; perhaps not the right bytes.
    Write { number: u64, is_whole: bool },
    /// Nothing that can be read.
    Nothing,
}

struct Writes<R> {
    reader: R,
    /// Where what was read last ends.
    at: u64,
}

impl Writes<BufReader<fs::File>> {
    fn of(journal: &Path) -> io::Result<Self> {
        Ok(Self { reader: BufReader::with_capacity(256 * 1024, fs::File::open(journal)?), at: 0 })
    }
}

impl<R: Read> Writes<R> {
    fn next(&mut self) -> io::Result<Found> {
        match self.read() {
            Ok(found) => Ok(found),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self) -> io::Result<Found> {
        let mut head = [0; 13];
        self.take(&mut head)?;
        let [START, rest @ ..] = head else { return Ok(Found::Nothing) };
        let (entries, number) = (number_of(&rest[..4]), number_of(&rest[4..]));
        let (mut sum, mut bytes) = (Xxh3::default(), Vec::new());
        for _ in 0..entries {
            // Tag, type, compression, tree, and the lengths of key, value and what is stored of the value.
            bytes.resize(1, 0);
            self.take(&mut bytes)?;
            match bytes[0] {
                2 => {
                    bytes.resize(21, 0);
                    self.take(&mut bytes[1..])?;
                    let length = number_of(&bytes[11..13]) + number_of(&bytes[17..21]);
                    let Some(length) = usize::try_from(length).ok().filter(|length| *length <= ENTRY_MAX)
                    else {
                        return Ok(Found::Nothing);
                    };
                    bytes.resize(21 + length, 0);
                    self.take(&mut bytes[21..])?;
                }
                4 => {
                    bytes.resize(9, 0);
                    self.take(&mut bytes[1..])?;
                }
                _ => return Ok(Found::Nothing),
            }
            sum.update(&bytes);
        }
        let mut tail = [0; 13];
        self.take(&mut tail)?;
        let [3, rest @ ..] = tail else { return Ok(Found::Nothing) };
        if rest[8..] != MAGIC {
            return Ok(Found::Nothing);
        }
        Ok(Found::Write { number, is_whole: number_of(&rest[..8]) == sum.digest() })
    }

    fn take(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

/// As they lie in the file.
fn number_of(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Where each write of a journal ends.
    pub(crate) fn ends(journal: &Path) -> Vec<usize> {
        let mut writes = Writes::of(journal).unwrap();
        let mut ends = Vec::new();
        while let Found::Write { is_whole: true, .. } = writes.next().unwrap() {
            ends.push(usize::try_from(writes.at).unwrap());
        }
        ends
    }
}
