//! Items as they travel: `{"PK":{"S":"dr@x.com"},"epoch":{"N":"7"}}`, read without copying what needs no copy, and written
//! in one way: names in order, numbers as DynamoDB writes them. So equal items are equal bytes.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::Refusal;
use crate::number::{Number, is_plain};

/// How deep lists and maps may lie in each other.
const DEPTH_MAX: usize = 32;

/// A text of a request, borrowed from it where it can be.
pub(crate) type Text<'a> = Cow<'a, str>;

/// An attribute's value. Numbers are written as [`Number`] writes them, bytes are base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    S(Text<'a>),
    N(Text<'a>),
    B(Text<'a>),
    Bool(bool),
    Null,
    L(Vec<Value<'a>>),
    M(Item<'a>),
    /// Sets are in the order of their members.
    Ss(Vec<Text<'a>>),
    Ns(Vec<Text<'a>>),
    Bs(Vec<Text<'a>>),
}

/// A row, or a map in one, in the order of its names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Item<'a>(pub(crate) Vec<(Text<'a>, Value<'a>)>);

impl<'a> Item<'a> {
    /// Reads a stored row.
    pub(crate) fn stored(bytes: &'a [u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(bytes).map_err(|error| {
            tracing::error!(kind = ?error.classify(), "a stored row cannot be read");
            Refusal::Broken
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Value<'a>> {
        self.0.iter_mut().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    pub(crate) fn set(&mut self, name: Text<'a>, value: Value<'a>) {
        match self.0.binary_search_by(|(own, _)| own.cmp(&name)) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (name, value)),
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(own, _)| own != name);
    }

    /// Bytes, as DynamoDB counts them.
    pub(crate) fn size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.size()).sum()
    }

    /// Whether it may be stored, as far as lists and maps within each other go.
    pub(crate) fn check_depth(&self) -> Result<(), Refusal> {
        check_depth(&self.0)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, (name, value)) in self.0.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_text(name, out);
            out.push(b':');
            value.write(out);
        }
        out.push(b'}');
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size() + 16 * self.0.len() + 2);
        self.write(&mut out);
        out
    }
}

impl<'a> Value<'a> {
    /// What `attribute_type` calls it.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Self::S(_) => "S",
            Self::N(_) => "N",
            Self::B(_) => "B",
            Self::Bool(_) => "BOOL",
            Self::Null => "NULL",
            Self::L(_) => "L",
            Self::M(_) => "M",
            Self::Ss(_) => "SS",
            Self::Ns(_) => "NS",
            Self::Bs(_) => "BS",
        }
    }

    /// Whether it is a text or bytes without any.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::S(text) | Self::B(text) if text.is_empty())
    }

    /// Which comes first; values of two types, and those without an order, do not compare.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::S(one), Self::S(other)) => Some(one.as_bytes().cmp(other.as_bytes())),
            (Self::N(one), Self::N(other)) => Some(number(one).cmp(&number(other))),
            (Self::B(one), Self::B(other)) => Some(decoded(one).cmp(&decoded(other))),
            _ => None,
        }
    }

    /// What `size` says: characters, bytes or members.
    pub(crate) fn length(&self) -> Option<usize> {
        match self {
            Self::S(text) => Some(text.chars().count()),
            Self::B(text) => Some(decoded(text).len()),
            Self::L(list) => Some(list.len()),
            Self::M(map) => Some(map.0.len()),
            Self::Ss(set) | Self::Ns(set) | Self::Bs(set) => Some(set.len()),
            Self::N(_) | Self::Bool(_) | Self::Null => None,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::S(text) => text.len(),
            Self::N(text) => number(text).size(),
            Self::B(text) => decoded_length(text),
            Self::Bool(_) | Self::Null => 1,
            Self::L(list) => 3 + list.iter().map(|value| 1 + value.size()).sum::<usize>(),
            Self::M(map) => 3 + map.0.len() + map.size(),
            Self::Ss(set) => set.iter().map(|text| text.len()).sum(),
            Self::Ns(set) => set.iter().map(|text| number(text).size()).sum(),
            Self::Bs(set) => set.iter().map(|text| decoded_length(text)).sum(),
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let text = |start: &[u8], text: &str, out: &mut Vec<u8>| {
            out.extend(start);
            write_text(text, out);
        };
        match self {
            Self::S(value) => text(b"{\"S\":", value, out),
            Self::N(value) => text(b"{\"N\":", value, out),
            Self::B(value) => text(b"{\"B\":", value, out),
            Self::Bool(true) => out.extend(b"{\"BOOL\":true"),
            Self::Bool(false) => out.extend(b"{\"BOOL\":false"),
            Self::Null => out.extend(b"{\"NULL\":true"),
            Self::L(list) => {
                out.extend(b"{\"L\":");
                write_list(list, |value, out| value.write(out), out);
            }
            Self::M(map) => {
                out.extend(b"{\"M\":");
                map.write(out);
            }
            Self::Ss(set) | Self::Ns(set) | Self::Bs(set) => {
                out.extend(b"{\"");
                out.extend(self.type_name().as_bytes());
                out.extend(b"\":");
                write_list(set, |member, out| write_text(member, out), out);
            }
        }
        out.push(b'}');
    }

    /// Refuses what DynamoDB stores nowhere, and brings numbers and sets into their one form.
    fn checked(self) -> Result<Self, Refusal> {
        match self {
            Self::N(text) => Ok(Self::N(plain(text)?)),
            Self::B(text) => {
                check_base64(&text)?;
                Ok(Self::B(text))
            }
            Self::Ss(set) => Ok(Self::Ss(members(set, "string", |one, other| one.cmp(other))?)),
            Self::Ns(set) => {
                let set: Result<_, Refusal> = set.into_iter().map(plain).collect();
                Ok(Self::Ns(members(set?, "number", |one, other| number(one).cmp(&number(other)))?))
            }
            Self::Bs(set) => {
                set.iter().try_for_each(|member| check_base64(member))?;
                Ok(Self::Bs(members(set, "binary", |one, other| decoded(one).cmp(&decoded(other)))?))
            }
            other => Ok(other),
        }
    }

    /// Bytes of a text or of bytes, which is all that a key may have too many of.
    pub(crate) fn key_bytes(&self) -> usize {
        match self {
            Self::S(text) => text.len(),
            Self::B(text) => decoded(text).len(),
            _ => 0,
        }
    }

    fn depth(&self) -> usize {
        match self {
            Self::L(list) => 1 + list.iter().map(Self::depth).max().unwrap_or_default(),
            Self::M(map) => 1 + map.0.iter().map(|(_, value)| value.depth()).max().unwrap_or_default(),
            _ => 0,
        }
    }
}

/// The number of a text that was checked when it came.
pub(crate) fn number(text: &str) -> Number {
    Number::parse(text).unwrap_or(Number::ZERO)
}

/// The bytes of a text that was checked when it came.
pub(crate) fn decoded(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap_or_default()
}

fn decoded_length(text: &str) -> usize {
    text.len() / 4 * 3 - text.bytes().rev().take_while(|byte| *byte == b'=').count()
}

fn check_base64(text: &str) -> Result<(), Refusal> {
    match STANDARD.decode(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::invalid("Base64 encoded value is not valid")),
    }
}

fn plain(text: Text<'_>) -> Result<Text<'_>, Refusal> {
    if is_plain(&text) { Ok(text) } else { Ok(Cow::Owned(Number::parse(&text)?.to_string())) }
}

fn members<'a>(
    mut set: Vec<Text<'a>>,
    kind: &str,
    order: impl Fn(&str, &str) -> Ordering,
) -> Result<Vec<Text<'a>>, Refusal> {
    if set.is_empty() {
        return Err(Refusal::invalid(format!(
            "One or more parameter values were invalid: An {kind} set  may not be empty"
        )));
    }
    set.sort_by(|one, other| order(one, other));
    if set.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refusal::invalid(format!(
            "One or more parameter values were invalid: Input collection [{}] contains duplicates.",
            set.join(", ")
        )));
    }
    Ok(set)
}

fn write_list<T>(list: &[T], write: impl Fn(&T, &mut Vec<u8>), out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, member) in list.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(member, out);
    }
    out.push(b']');
}

/// Appends a text as a JSON string.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    // All of it, so that many bytes are looked at at once.
    let is_escaped = |found, byte| found | (byte < b' ') | (byte == b'"') | (byte == b'\\');
    if text.bytes().fold(false, is_escaped) {
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(out, text);
        return;
    }
    out.push(b'"');
    out.extend(text.as_bytes());
    out.push(b'"');
}

/// A text that is borrowed where the parser can: serde's own `Cow` always copies.
pub(crate) struct Borrowed<'a>(pub(crate) Text<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Borrowed<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Borrowed<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Borrowed(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Borrowed(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum Kind {
    S,
    N,
    B,
    #[serde(rename = "BOOL")]
    Bool,
    #[serde(rename = "NULL")]
    Null,
    L,
    M,
    #[serde(rename = "SS")]
    Ss,
    #[serde(rename = "NS")]
    Ns,
    #[serde(rename = "BS")]
    Bs,
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Value<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an attribute's value")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let Some(kind) = map.next_key()? else {
                    return Err(A::Error::custom(Refusal::invalid(
                        "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
                    )));
                };
                let text = |map: &mut A| Ok::<_, A::Error>(map.next_value::<Borrowed<'de>>()?.0);
                let set = |map: &mut A| {
                    let set: Vec<Borrowed<'de>> = map.next_value()?;
                    Ok::<_, A::Error>(set.into_iter().map(|member| member.0).collect::<Vec<_>>())
                };
                let value = match kind {
                    Kind::S => Value::S(text(&mut map)?),
                    Kind::N => Value::N(text(&mut map)?),
                    Kind::B => Value::B(text(&mut map)?),
                    Kind::Bool => Value::Bool(map.next_value()?),
                    Kind::Null => match map.next_value()? {
                        true => Value::Null,
                        false => {
                            return Err(A::Error::custom(Refusal::invalid(
                                "One or more parameter values were invalid: Null attribute value types must have the value of true",
                            )));
                        }
                    },
                    Kind::L => Value::L(map.next_value()?),
                    Kind::M => Value::M(map.next_value()?),
                    Kind::Ss => Value::Ss(set(&mut map)?),
                    Kind::Ns => Value::Ns(set(&mut map)?),
                    Kind::Bs => Value::Bs(set(&mut map)?),
                };
                if map.next_key::<Kind>()?.is_some() {
                    return Err(A::Error::custom(Refusal::invalid(
                        "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
                    )));
                }
                value.checked().map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ItemReader).map(Self)
    }
}

struct ItemReader;

impl<'de> Visitor<'de> for ItemReader {
    type Value = Vec<(Text<'de>, Value<'de>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of attributes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut attributes = Vec::with_capacity(map.size_hint().unwrap_or(12));
        while let Some(name) = map.next_key::<Borrowed<'de>>()? {
            attributes.push((name.0, map.next_value()?));
        }
        // Stored rows are in order already.
        if !attributes.is_sorted_by(|one: &(Text<'de>, Value<'de>), other| one.0 < other.0) {
            attributes.sort_by(|one, other| one.0.cmp(&other.0));
            if attributes.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                return Err(A::Error::custom("one name stands for two attributes"));
            }
        }
        check_depth(&attributes).map_err(A::Error::custom)?;
        Ok(attributes)
    }
}

fn check_depth(attributes: &[(Text<'_>, Value<'_>)]) -> Result<(), Refusal> {
    if attributes.iter().all(|(_, value)| value.depth() <= DEPTH_MAX) {
        return Ok(());
    }
    Err(Refusal::invalid(
        "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit",
    ))
}

/// What the names that begin with `#` stand for.
#[derive(Debug, Default)]
pub(crate) struct Names<'a>(pub(crate) Vec<(Text<'a>, Text<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Names<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Names<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of names")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut names = Vec::new();
                while let Some(placeholder) = map.next_key::<Borrowed<'de>>()? {
                    names.push((placeholder.0, map.next_value::<Borrowed<'de>>()?.0));
                }
                names.sort();
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}
