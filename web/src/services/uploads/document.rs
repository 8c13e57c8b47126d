//! The JSON of an upload, read as it arrives. A content goes to a spool file; all else is small and kept. What is no
//! JSON ends the reading. A value that is not valid does not: whose files they are is judged first, and that field may
//! be the last one. Of a field that comes twice the last one counts.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::path::Path;
use std::rc::Rc;

use persistence::{FileName, NewFile};
use struson::reader::{JsonReader, JsonStreamReader, ReaderError, ReaderSettings, ValueType};

use super::content::{Undecodable, decode};
use super::{FILES_MAX, METADATA_BYTES_MAX, OTHER_BYTES_MAX, with_escapes};
use crate::error::{ApiError, FileRefusal};
use crate::json::BYTE_ORDER_MARK;

/// How much is written at once.
const WRITTEN_AT_ONCE: usize = 64 * 1024;

/// The fields of an upload, before all of them are known to be valid.
#[derive(Default)]
pub(super) struct Document {
    is_object: bool,
    email: Field<String>,
    files: Field<Vec<NewFile>>,
}

/// A field: absent, or what it says.
type Field<T> = Option<Value<T>>;
/// A value, or what is wrong with it.
type Value<T> = Result<T, ApiError>;

/// Reads the document to its end.
pub(super) fn read(body: impl Read, spool: &Path) -> Result<Document, ApiError> {
    let body = without_mark(body).map_err(|_| ApiError::InvalidJson)?;
    let tally = Rc::new(Tally::default());
    let settings = ReaderSettings { track_path: false, restrict_number_values: false, ..Default::default() };
    let body = Tallied { body, tally: Rc::clone(&tally) };
    let mut parser = Parser { json: JsonStreamReader::new_custom(body, settings), tally, spool };
    let tally = Rc::clone(&parser.tally);
    let document = parser.document().and_then(|document| {
        parser.json.consume_trailing_whitespace()?;
        Ok(document)
    });
    match document {
        Err(ApiError::InvalidJson) if tally.is_exceeded() => {
            Err(ApiError::BodyTooLarge(usize::try_from(OTHER_BYTES_MAX).unwrap_or(usize::MAX)))
        }
        document => document,
    }
}

/// The body without the byte order mark that it may begin with.
fn without_mark(mut body: impl Read) -> io::Result<impl Read> {
    let mut head = Vec::new();
    let may_be_mark = |head: &[u8]| head != BYTE_ORDER_MARK && BYTE_ORDER_MARK.starts_with(head);
    // Byte by byte: a client may wait for a refusal after the first wrong one.
    while may_be_mark(&head) && body.by_ref().take(1).read_to_end(&mut head)? > 0 {}
    if head == BYTE_ORDER_MARK {
        head.clear();
    }
    Ok(io::Cursor::new(head).chain(body))
}

impl Document {
    /// Whose files they are said to be; `None` when the field is absent or no text.
    pub(super) fn raw_email(&self) -> Option<&str> {
        self.email.as_ref()?.as_ref().ok().map(String::as_str)
    }

    /// The files, if all of the document is valid.
    pub(super) fn files(self) -> Result<Vec<NewFile>, ApiError> {
        if !self.is_object {
            return Err(ApiError::invalid("The body must be a JSON object"));
        }
        let _: String = present(self.email, "email")?;
        let files = present(self.files, "files")?;
        if files.is_empty() {
            return Err(wrong_number());
        }
        Ok(files)
    }
}

struct Parser<'a, R: Read> {
    json: JsonStreamReader<Tallied<R>>,
    tally: Rc<Tally>,
    spool: &'a Path,
}

/// Every function reads one value to its end; the inner result says whether it is valid.
impl<R: Read> Parser<'_, R> {
    fn document(&mut self) -> Result<Document, ApiError> {
        let mut document = Document { is_object: self.next_is(ValueType::Object)?, ..Document::default() };
        if !document.is_object {
            return Ok(document);
        }
        self.json.begin_object()?;
        while self.json.has_next()? {
            match self.json.next_name()? {
                "email" => document.email = Some(self.text("email")?),
                "files" => document.files = Some(self.files()?),
                _ => self.json.skip_value()?,
            }
        }
        self.json.end_object()?;
        Ok(document)
    }

    fn files(&mut self) -> Result<Value<Vec<NewFile>>, ApiError> {
        if !self.next_is(ValueType::Array)? {
            return Ok(Err(wrong_type("files")));
        }
        let mut files: Value<Vec<NewFile>> = Ok(Vec::new());
        self.json.begin_array()?;
        for index in 0.. {
            if !self.json.has_next()? {
                break;
            }
            let file = self.file(&format!("files[{index}]"))?;
            files = files.and_then(|files| with(files, file?, index));
        }
        self.json.end_array()?;
        Ok(files)
    }

    fn file(&mut self, at: &str) -> Result<Value<NewFile>, ApiError> {
        let [filename, content, metadata] =
            ["filename", "content", "metadata"].map(|field| format!("{at}.{field}"));
        if !self.next_is(ValueType::Object)? {
            return Ok(Err(wrong_type(at)));
        }
        let (mut name, mut spooled, mut pairs) = (None, None, None);
        self.json.begin_object()?;
        while self.json.has_next()? {
            match self.json.next_name()? {
                "filename" => name = Some(self.text(&filename)?),
                "content" => spooled = Some(self.content(&content)?),
                "metadata" => pairs = Some(self.metadata(&metadata)?),
                _ => self.json.skip_value()?,
            }
        }
        self.json.end_object()?;
        let file = || {
            let name = FileName::parse(&present(name, &filename)?)
                .map_err(|error| ApiError::invalid(format!("'{filename}' is not valid: {error}")))?;
            let (content, size) = present(spooled, &content)?;
            Ok(NewFile { name, content, size, metadata: pairs.unwrap_or_else(|| Ok(BTreeMap::new()))? })
        };
        Ok(file())
    }

    /// A content, in a spool file.
    fn content(&mut self, field: &str) -> Result<Value<(File, u64)>, ApiError> {
        if !self.next_is(ValueType::String)? {
            return Ok(Err(wrong_type(field)));
        }
        let file = tempfile::tempfile_in(self.spool).map_err(|error| cannot_spool(&error))?;
        let mut characters = Content { characters: self.json.next_string_reader()?, tally: &self.tally };
        match decode(&mut characters, BufWriter::with_capacity(WRITTEN_AT_ONCE, &file)) {
            Ok(size) => Ok(Ok((file, size))),
            Err(Undecodable::NotBase64) => {
                io::copy(&mut characters, &mut io::sink()).map_err(|_| ApiError::InvalidJson)?;
                Ok(Err(ApiError::invalid(format!("'{field}' is not base64"))))
            }
            Err(Undecodable::TooLong) => Err(ApiError::File(FileRefusal::TooLarge)),
            Err(Undecodable::Unreadable) => Err(ApiError::InvalidJson),
            Err(Undecodable::Unwritable(error)) => Err(cannot_spool(&error)),
        }
    }

    fn metadata(&mut self, field: &str) -> Result<Value<BTreeMap<String, String>>, ApiError> {
        let mut pairs = BTreeMap::new();
        if self.json.peek()? == ValueType::Null {
            self.json.next_null()?;
            return Ok(Ok(pairs));
        }
        if !self.next_is(ValueType::Object)? {
            return Ok(Err(wrong_type(field)));
        }
        let (mut bytes, mut are_texts) = (0, true);
        self.json.begin_object()?;
        while self.json.has_next()? {
            let key = self.json.next_name_owned()?;
            if self.next_is(ValueType::String)? {
                let value = self.json.next_string()?;
                bytes += key.len() + value.len();
                pairs.insert(key, value);
            } else {
                are_texts = false;
            }
        }
        self.json.end_object()?;
        if !are_texts {
            return Ok(Err(ApiError::invalid(format!("'{field}' must hold texts only"))));
        }
        if bytes > METADATA_BYTES_MAX {
            return Ok(Err(ApiError::File(FileRefusal::MetadataTooLarge)));
        }
        Ok(Ok(pairs))
    }

    fn text(&mut self, field: &str) -> Result<Value<String>, ApiError> {
        if !self.next_is(ValueType::String)? {
            return Ok(Err(wrong_type(field)));
        }
        Ok(Ok(self.json.next_string()?))
    }

    /// Whether the next value is of this type; skips it if it is of another.
    fn next_is(&mut self, expected: ValueType) -> Result<bool, ApiError> {
        let is_expected = self.json.peek()? == expected;
        if !is_expected {
            self.json.skip_value()?;
        }
        Ok(is_expected)
    }
}

/// How much of the body has been read, and how much of that was files' contents. What is kept in memory is what is no
/// content, so that this bounds it.
#[derive(Default)]
struct Tally {
    read: Cell<u64>,
    content: Cell<u64>,
}

impl Tally {
    fn is_exceeded(&self) -> bool {
        self.read.get() > with_escapes(self.content.get()) + OTHER_BYTES_MAX
    }
}

struct Tallied<R> {
    body: R,
    tally: Rc<Tally>,
}

impl<R: Read> Read for Tallied<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer)?;
        self.tally.read.update(|sum| sum + read as u64);
        if self.tally.is_exceeded() { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(read) }
    }
}

struct Content<'a, R> {
    characters: R,
    tally: &'a Tally,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.characters.read(buffer)?;
        self.tally.content.update(|sum| sum + read as u64);
        Ok(read)
    }
}

impl From<ReaderError> for ApiError {
    fn from(_: ReaderError) -> Self {
        Self::InvalidJson
    }
}

fn with(mut files: Vec<NewFile>, file: NewFile, index: usize) -> Value<Vec<NewFile>> {
    if index >= FILES_MAX {
        return Err(wrong_number());
    }
    if files.iter().any(|other| other.name == file.name) {
        return Err(ApiError::invalid(format!("'files[{index}].filename' occurs twice")));
    }
    files.push(file);
    Ok(files)
}

fn present<T>(field: Field<T>, name: &str) -> Value<T> {
    field.unwrap_or_else(|| Err(ApiError::invalid(format!("'{name}' is missing"))))
}

fn wrong_type(field: &str) -> ApiError {
    ApiError::invalid(format!("'{field}' is not of the right type"))
}

fn wrong_number() -> ApiError {
    ApiError::invalid(format!("'files' must be 1 to {FILES_MAX} files"))
}

fn cannot_spool(error: &io::Error) -> ApiError {
    tracing::error!(%error, "an upload cannot be spooled to disk");
    ApiError::Unavailable
}

#[cfg(test)]
mod tests;
