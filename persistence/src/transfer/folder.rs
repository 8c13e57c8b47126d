//! The folder that an export is: a file of lines for each part, the objects' bytes beside it, a cursor for each part that
//! is not whole, and a manifest, written last, without which it is no export.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::TransferError;
use crate::data_folder::{make_private, write_private};

/// Which layout this is; grows when an older program would misread it.
pub(super) const FORMAT: u32 = 1;
/// What an export says of itself when it begins.
pub(super) const BEGUN: &str = "export.json";
/// What it says when it is whole.
pub(super) const MANIFEST: &str = "manifest.json";
/// How far an import has come.
pub(super) const IMPORT: &str = "import.json";
/// Rows have 400 kB, which escapes may make six times as long.
const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How much there is, and a checksum of it that does not depend on the order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// The sum of their hashes.
    pub checksum: Checksum,
}

/// 128 bits: the sum of the first halves of SHA-256. It finds accidents, not forgers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Checksum(u128);

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<Checksum> for String {
    fn from(checksum: Checksum) -> Self {
        checksum.to_string()
    }
}

impl TryFrom<String> for Checksum {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Self)
    }
}

impl Sum {
    /// One more.
    pub(super) fn add(&mut self, text: &str) {
        let digest = Sha256::digest(text);
        let first: [u8; 16] = std::array::from_fn(|index| digest[index]);
        self.count += 1;
        self.checksum.0 = self.checksum.0.wrapping_add(u128::from_be_bytes(first));
    }
}

/// What an export says when it begins: one that was interrupted goes on only if this is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    pub(super) format: u32,
    pub(super) source: String,
    pub(super) documents_bucket: String,
}

/// What a whole export has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    #[serde(flatten)]
    pub(super) begun: Begun,
    /// When it became whole, as RFC 3339 has it.
    pub(super) ended: String,
    pub(super) parts: BTreeMap<String, ManifestPart>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ManifestPart {
    #[serde(flatten)]
    pub(super) sum: Sum,
    /// Of the file of lines.
    pub(super) sha256: String,
    /// Objects of uploads that were not done.
    pub(super) left_out: u64,
}

/// How far a part has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// What of its file is good.
    pub(super) bytes: u64,
    pub(super) sum: Sum,
    /// Where in the store it goes on.
    pub(super) after: Option<String>,
    pub(super) left_out: u64,
    pub(super) is_done: bool,
}

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes it where it is missing, readable by its owner alone.
    pub(super) fn make(&self) -> Result<(), TransferError> {
        make_private(&self.0).map_err(failed(&self.0))
    }

    /// The same for what is in it.
    pub(super) fn make_parts(&self) -> Result<(), TransferError> {
        for folder in ["tables", "files"].map(|name| self.0.join(name)) {
            make_private(&folder).map_err(failed(&folder))?;
        }
        Ok(())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }

    /// Whether nothing is in it but what a crash left of [`BEGUN`], or it is not there.
    pub(super) fn is_empty(&self) -> Result<bool, TransferError> {
        let leftover = Path::new(BEGUN).with_extension("new");
        match fs::read_dir(&self.0) {
            Ok(mut entries) => {
                Ok(entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == leftover.as_os_str())))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            Err(error) => Err(failed(&self.0)(error)),
        }
    }

    pub(super) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, TransferError> {
        read_json(&self.0.join(name))
    }

    /// On the disk when it returns, whole.
    pub(super) fn write(&self, name: &str, value: &impl Serialize) -> Result<(), TransferError> {
        write_json(&self.0.join(name), value)
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), TransferError> {
        let path = self.0.join(name);
        fs::remove_file(&path).map_err(failed(&path))
    }

    /// The file of lines of a table.
    pub(super) fn table(&self, name: &str) -> PathBuf {
        self.0.join("tables").join(format!("{name}.jsonl"))
    }

    /// The file of lines of a bucket.
    pub(super) fn bucket(&self, name: &str) -> PathBuf {
        self.0.join("files").join(format!("{name}.jsonl"))
    }

    /// Where an object's bytes are: keys may hold anything, and name patients.
    pub(super) fn object(&self, bucket: &str, key: &str) -> PathBuf {
        let hash = hex::encode(Sha256::digest(key));
        self.0.join("files").join(bucket).join(&hash[..2]).join(hash)
    }
}

/// A file of lines that is being written, and its cursor.
pub(super) struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    pub(super) cursor: Cursor,
}

impl Writer {
    /// Goes on where the cursor stands; what is past it was not safe.
    pub(super) fn resume(path: PathBuf) -> Result<Self, TransferError> {
        let cursor: Cursor = read_json(&cursor_of(&path))?.unwrap_or_default();
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed(&path))?;
        let ready = file.metadata().and_then(|metadata| {
            if metadata.len() < cursor.bytes {
                return Err(io::Error::new(ErrorKind::InvalidData, "it is shorter than its cursor says"));
            }
            file.set_len(cursor.bytes)?;
            file.seek(SeekFrom::End(0)).map(drop)
        });
        ready.map_err(failed(&path))?;
        Ok(Self { path, file: BufWriter::new(file), cursor })
    }

    /// Adds a line; `counted` is what of it goes into the sum.
    pub(super) fn push(&mut self, line: &str, counted: &str) -> Result<(), TransferError> {
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.write_all(b"\n"));
        written.map_err(failed(&self.path))?;
        self.cursor.bytes += line.len() as u64 + 1;
        self.cursor.sum.add(counted);
        Ok(())
    }

    /// Makes everything so far safe.
    pub(super) fn save(&mut self, after: Option<String>, is_done: bool) -> Result<(), TransferError> {
        let flushed = self.file.flush().and_then(|()| self.file.get_ref().sync_data());
        flushed.map_err(failed(&self.path))?;
        self.cursor.after = after;
        self.cursor.is_done = is_done;
        write_json(&cursor_of(&self.path), &self.cursor)
    }
}

/// Takes a part's cursor away, when the manifest says what it said.
pub(super) fn forget_cursor(lines: &Path) -> Result<(), TransferError> {
    let path = cursor_of(lines);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A file of lines that is read.
pub(super) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    line: String,
    /// Where the next line begins.
    pub(super) at: u64,
}

impl Reader {
    pub(super) fn open(path: PathBuf, at: u64) -> Result<Self, TransferError> {
        let open = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(at))?;
            Ok(file)
        };
        let file = open().map_err(failed(&path))?;
        Ok(Self { path, file: BufReader::new(file), line: String::new(), at })
    }

    /// The next line.
    pub(super) fn next(&mut self) -> Result<Option<&str>, TransferError> {
        self.line.clear();
        let read = (&mut self.file).take(LINE_BYTES_MAX).read_line(&mut self.line);
        let read = read.map_err(failed(&self.path))? as u64;
        self.at += read;
        match (read, self.line.strip_suffix('\n')) {
            (0, _) => Ok(None),
            (_, Some(line)) => Ok(Some(line)),
            (_, None) => Err(TransferError::Damaged(self.path.clone())),
        }
    }
}

/// The SHA-256 of a file, and how long it is.
pub(super) fn digest(path: &Path) -> Result<(String, u64), TransferError> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    let mut size = 0;
    let mut file = File::open(path).map_err(failed(path))?;
    loop {
        match file.read(&mut piece).map_err(failed(path))? {
            0 => return Ok((hex::encode(hash.finalize()), size)),
            read => {
                hash.update(&piece[..read]);
                size += read as u64;
            }
        }
    }
}

/// An error of the file system, with the path.
pub(super) fn failed(path: &Path) -> impl Fn(io::Error) -> TransferError + '_ {
    |source| TransferError::Folder { path: path.to_owned(), source }
}

fn cursor_of(lines: &Path) -> PathBuf {
    lines.with_extension("cursor")
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, TransferError> {
    match fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|_| TransferError::Damaged(path.to_owned()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), TransferError> {
    let written = serde_json::to_vec_pretty(value).map_err(io::Error::from).and_then(|bytes| {
        write_private(path, &bytes)?;
        crate::data_folder::sync_folder(path.parent().unwrap_or(Path::new(".")))
    });
    written.map_err(failed(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_does_not_depend_on_the_order_and_notices_every_change() {
        let sum = |texts: &[&str]| {
            let mut sum = Sum::default();
            texts.iter().for_each(|text| sum.add(text));
            sum
        };
        assert_eq!(sum(&["a", "b", "c"]), sum(&["c", "a", "b"]));
        for others in [&["a", "b"][..], &["a", "b", "d"], &["a", "a", "b", "c"], &["a", "b", "c", ""]] {
            assert_ne!(sum(&["a", "b", "c"]), sum(others));
        }
        let stored = serde_json::to_string(&sum(&["a"])).unwrap();
        assert_eq!(serde_json::from_str::<Sum>(&stored).unwrap(), sum(&["a"]));
    }

    #[test]
    fn what_was_written_after_the_cursor_is_written_again() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("x.jsonl");
        let mut lines = Writer::resume(path.clone()).unwrap();
        lines.push("one", "one").unwrap();
        lines.save(Some("1".to_owned()), false).unwrap();
        lines.push("two, never saved", "two").unwrap();
        drop(lines);
        let mut lines = Writer::resume(path.clone()).unwrap();
        assert_eq!((lines.cursor.sum.count, lines.cursor.after.as_deref()), (1, Some("1")));
        lines.push("two", "two").unwrap();
        lines.save(None, true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        let mut read = Reader::open(path, 4).unwrap();
        assert_eq!(read.next().unwrap(), Some("two"));
        assert_eq!((read.at, read.next().unwrap()), (8, None));
    }

    #[test]
    fn a_line_without_its_end_is_damage() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("x.jsonl");
        fs::write(&path, "one\ntw").unwrap();
        let mut lines = Reader::open(path, 0).unwrap();
        assert_eq!(lines.next().unwrap(), Some("one"));
        assert!(matches!(lines.next(), Err(TransferError::Damaged(_))));
    }
}
