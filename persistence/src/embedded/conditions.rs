//! The conditional headers and the range of a read, evaluated in the order of RFC 9110, section 13.2.2.
//!
//! A malformed date or range is ignored. A malformed list of entity tags names no tag, and a malformed `If-Range` matches
//! nothing. So a malformed header costs its sender a whole object or a 412, and never mixes two objects.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::HeaderMap;
use hyper::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};

/// The headers that this module evaluates.
const NAMES: [HeaderName; 6] =
    [IF_MATCH, IF_UNMODIFIED_SINCE, IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE, IF_RANGE];

/// The conditional headers of a request, unparsed, and the object that its address is bound to.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions {
    headers: HeaderMap,
    /// An entity tag without quotes, if the address names one.
    bound_to: Option<String>,
}

/// The properties of an object on which an answer depends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validators<'a> {
    /// The opaque part of the strong entity tag, without quotes.
    pub(super) e_tag: &'a str,
    pub(super) modified: SystemTime,
    /// In bytes.
    pub(super) size: u64,
}

/// How to answer a request for an object that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// 200 with all bytes.
    Whole,
    /// 206 with these bytes. The range is not empty and lies within the object.
    Part(Range<u64>),
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    NotSatisfiable,
}

impl Conditions {
    /// Moves the conditional headers out of the headers of a request.
    pub(super) fn take(headers: &mut HeaderMap) -> Self {
        let mut taken = HeaderMap::new();
        for name in NAMES {
            for value in headers.get_all(&name) {
                taken.append(&name, value.clone());
            }
            headers.remove(name);
        }
        Self { headers: taken, bound_to: None }
    }

    /// Adds the entity tag, without quotes, that the signed address of the request names.
    pub(super) fn bound_to(self, e_tag: Option<String>) -> Self {
        Self { bound_to: e_tag, ..self }
    }

    /// Decides how to answer a GET or HEAD.
    pub(super) fn evaluate(&self, object: &Validators<'_>) -> Outcome {
        // Whoever was given the address was given that object.
        if self.bound_to.as_ref().is_some_and(|tag| tag != object.e_tag) {
            return Outcome::PreconditionFailed;
        }
        let second = second(object.modified);
        let is_expected = if self.headers.contains_key(IF_MATCH) {
            self.names(&IF_MATCH, |tag| tag.is_strongly(object.e_tag))
        } else {
            self.date(&IF_UNMODIFIED_SINCE).is_none_or(|date| second <= date)
        };
        if !is_expected {
            return Outcome::PreconditionFailed;
        }
        let is_known = if self.headers.contains_key(IF_NONE_MATCH) {
            self.names(&IF_NONE_MATCH, |tag| tag.is_weakly(object.e_tag))
        } else {
            self.date(&IF_MODIFIED_SINCE).is_some_and(|date| second <= date)
        };
        if is_known {
            return Outcome::NotModified;
        }
        match self.field(&RANGE).and_then(ByteRange::parse) {
            Some(range) if self.is_of_this_object(object) => range.within(object.size),
            Some(_) | None => Outcome::Whole,
        }
    }

    /// Evaluates `If-Range`: whether the range that the client asks for continues what the client already has.
    ///
    /// Objects of one second share a date. A client must not send a date if it has a tag (section 13.1.5), and every answer
    /// has one.
    fn is_of_this_object(&self, object: &Validators<'_>) -> bool {
        if !self.headers.contains_key(IF_RANGE) {
            return true;
        }
        let Some(field) = self.field(&IF_RANGE) else { return false };
        match Tag::read(field) {
            Some((tag, rest)) => rest.is_empty() && tag.is_strongly(object.e_tag),
            None => parse_date(field) == Some(second(object.modified)),
        }
    }

    /// Whether a list names a tag for which `is_match` holds. `*` names every tag.
    fn names(&self, name: &HeaderName, is_match: impl Fn(Tag<'_>) -> bool) -> bool {
        if self.field(name) == Some(b"*") {
            return true;
        }
        let mut is_named = false;
        // Several lines are one list.
        for line in self.headers.get_all(name) {
            let Some(tags) = list(line.as_bytes()) else { return false };
            is_named |= tags.into_iter().any(&is_match);
        }
        is_named
    }

    /// A date, in seconds since 1970. `None` if the header is absent, repeated or malformed.
    fn date(&self, name: &HeaderName) -> Option<u64> {
        self.field(name).and_then(parse_date)
    }

    /// The value of a header that was sent exactly once.
    fn field(&self, name: &HeaderName) -> Option<&[u8]> {
        let mut lines = self.headers.get_all(name).iter();
        match (lines.next(), lines.next()) {
            (Some(line), None) => Some(line.as_bytes().trim_ascii()),
            (Some(_) | None, _) => None,
        }
    }
}

/// An entity tag as a client sends it.
#[derive(Debug, Clone, Copy)]
struct Tag<'a> {
    is_weak: bool,
    opaque: &'a [u8],
}

impl<'a> Tag<'a> {
    /// Reads the tag that `text` begins with, and returns what follows it.
    fn read(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (is_weak, quoted) = match text.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let rest = quoted.strip_prefix(b"\"")?;
        let end = rest.iter().position(|byte| !matches!(byte, 0x21 | 0x23..=0x7e | 0x80..))?;
        let (opaque, rest) = rest.split_at(end);
        Some((Self { is_weak, opaque }, rest.strip_prefix(b"\"")?))
    }

    fn is_strongly(self, e_tag: &str) -> bool {
        !self.is_weak && self.is_weakly(e_tag)
    }

    fn is_weakly(self, e_tag: &str) -> bool {
        self.opaque == e_tag.as_bytes()
    }
}

/// The tags of a list. Elements may be empty. `None` if any element is malformed.
fn list(line: &[u8]) -> Option<Vec<Tag<'_>>> {
    let mut tags = Vec::new();
    let mut rest = line.trim_ascii();
    while !rest.is_empty() {
        if !rest.starts_with(b",") {
            let (tag, after) = Tag::read(rest)?;
            tags.push(tag);
            rest = after.trim_ascii_start();
        }
        // A comma or the end follows each element.
        rest = match rest.split_first() {
            Some((b',', after)) => after.trim_ascii_start(),
            Some(_) => return None,
            None => rest,
        };
    }
    Some(tags)
}

/// A single range of bytes.
#[derive(Debug, Clone, Copy)]
enum ByteRange {
    From { first: u64, last: u64 },
    Suffix { length: u64 },
}

impl ByteRange {
    /// `None` if the header must be ignored: another unit, several ranges, or a malformed range.
    fn parse(field: &[u8]) -> Option<Self> {
        let (unit, range) = str::from_utf8(field).ok()?.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        match range.split_once('-')? {
            ("", length) => Some(Self::Suffix { length: number(length)? }),
            (first, "") => Some(Self::From { first: number(first)?, last: u64::MAX }),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From { first, last })
            }
        }
    }

    /// The answer for an object of this size.
    fn within(self, size: u64) -> Outcome {
        match self {
            Self::From { first, last } if first < size => Outcome::Part(first..last.min(size - 1) + 1),
            Self::Suffix { length: 0 } | Self::From { .. } => Outcome::NotSatisfiable,
            // Satisfiable, but no `Content-Range` can name an empty range.
            Self::Suffix { .. } if size == 0 => Outcome::Whole,
            Self::Suffix { length } => Outcome::Part(size - length.min(size)..size),
        }
    }
}

/// Reads digits. A number that is too large is larger than any object.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

fn parse_date(field: &[u8]) -> Option<u64> {
    httpdate::parse_http_date(str::from_utf8(field).ok()?).ok().map(second)
}

/// The second that `Last-Modified` names.
fn second(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
