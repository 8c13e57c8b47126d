//! JSON that can be written wrongly: a tree whose leaves are any text, so that it may hold what no parser gives, such as a
//! field twice, a number beyond all bounds, or half a surrogate.

use serde_json::Value;

use crate::chance::Dice;

/// Stands in what is drawn, and must be seen neither in a refusal nor in the log.
pub(crate) const CANARY: &str = "kanarie";

/// Leaves that are JSON, for the most part.
const LEAVES: [&str; 38] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1",
    "1.5",
    "7.0",
    "1e2",
    "1E400",
    "-1e400",
    "1e-400",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "-9223372036854775809",
    "0.1000000000000000055511151231257827",
    "01",
    "+1",
    ".5",
    "NaN",
    "Infinity",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\udc00\\ud800\"",
    "\"\\uFFFE\\uFFFF\"",
    "\"\\x41\"",
    "\"kanarie\"",
    "\"kanarie@example.com\"",
    "[]",
    "{}",
    "[[[]]]",
    "{\"\":{\"\":null}}",
    "'kanarie'",
    "undefined",
    "",
];

/// Texts that some part of the way may read as its own.
const TEXTS: [&str; 32] = [
    "",
    " ",
    "#",
    "a#b@c",
    "kanarie@",
    "@kanarie",
    "Kanarie@Example.COM",
    "kanarie@ｅｘａｍｐｌｅ.com",
    "İ@example.com",
    "ẞ@example.com",
    "kanarie/../x@example.com",
    "\u{0}",
    "\u{85}",
    "\u{200b}kanarie",
    "\u{202e}kanarie",
    "\u{feff}",
    "\u{fffe}\u{ffff}",
    "👩‍⚕️",
    "e\u{301}\u{327}",
    "../../etc/passwd",
    "kanarie%00%2e%2e%2f",
    "kanarie.pdf",
    "kanarie + 100%.pdf",
    "-",
    "23:30",
    "24:00",
    "9999-12-31",
    "0000-01-01",
    "2026-11-31",
    "Ｍonday",
    "plink_00000000000001",
    "${jndi:ldap://kanarie}",
];

/// What may be left behind a body.
const ENDS: [&[u8]; 6] = [b"}", b"{}", b" \n\t ", b"\0", b"\xff\xfe", b","];

/// A value, or what looks like one.
#[derive(Clone)]
pub(crate) enum Node {
    Leaf(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl From<&Value> for Node {
    fn from(value: &Value) -> Self {
        match value {
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(fields) => {
                Self::Object(fields.iter().map(|(name, value)| (name.clone(), value.into())).collect())
            }
            leaf => Self::Leaf(leaf.to_string()),
        }
    }
}

impl Node {
    /// As it is sent.
    pub(crate) fn write(&self, text: &mut String) {
        match self {
            Self::Leaf(leaf) => text.push_str(leaf),
            Self::List(items) => {
                text.push('[');
                for (n, item) in items.iter().enumerate() {
                    text.push_str(if n == 0 { "" } else { "," });
                    item.write(text);
                }
                text.push(']');
            }
            Self::Object(fields) => {
                text.push('{');
                for (n, (name, value)) in fields.iter().enumerate() {
                    text.push_str(if n == 0 { "" } else { "," });
                    text.push_str(&Value::from(name.as_str()).to_string());
                    text.push(':');
                    value.write(text);
                }
                text.push('}');
            }
        }
    }

    /// Changes something somewhere in it.
    pub(crate) fn mutate(&mut self, dice: &Dice) {
        match self {
            Self::List(items) if !items.is_empty() && dice.percent(70) => {
                let at = dice.below(items.len());
                items[at].mutate(dice);
            }
            Self::Object(fields) if !fields.is_empty() && dice.percent(80) => {
                let at = dice.below(fields.len());
                if dice.percent(50) { fields[at].1.mutate(dice) } else { shuffle(fields, at, dice) }
            }
            Self::List(items) if !items.is_empty() && dice.percent(50) => {
                let copies = dice.below(40);
                items.extend(vec![items[0].clone(); copies]);
            }
            Self::Leaf(leaf) if leaf.starts_with('"') && dice.percent(40) => *leaf = bend(leaf, dice),
            Self::Leaf(_) | Self::List(_) | Self::Object(_) => *self = drawn(dice),
        }
    }
}

/// Drops a field, names it twice, renames it, moves it, or adds one.
fn shuffle(fields: &mut Vec<(String, Node)>, at: usize, dice: &Dice) {
    let (name, value) = fields[at].clone();
    match dice.below(5) {
        0 => drop(fields.remove(at)),
        1 => fields.push((name, if dice.percent(50) { value } else { drawn(dice) })),
        2 => fields[at].0 = dice.pick(&[name.to_uppercase(), format!("{name} "), String::new()]).clone(),
        3 => fields.rotate_left(at),
        _ => fields.push(((*dice.pick(&TEXTS)).to_owned(), drawn(dice))),
    }
}

/// A text with something put into it, or cut out of it; still well written.
fn bend(leaf: &str, dice: &Dice) -> String {
    let text: String = serde_json::from_str(leaf).unwrap_or_default();
    let characters: Vec<char> = text.chars().collect();
    let at = dice.below(characters.len() + 1);
    let (before, after) = characters.split_at(at);
    let (before, after): (String, String) = (before.iter().collect(), after.iter().collect());
    let bent = match dice.below(4) {
        0 => format!("{before}{}{after}", dice.pick(&TEXTS)),
        1 => before,
        2 => text.to_uppercase(),
        _ => format!("{before}{}{after}", "k".repeat(1 << dice.below(16))),
    };
    Value::from(bent).to_string()
}

fn drawn(dice: &Dice) -> Node {
    match dice.below(20) {
        0 => {
            // Both sides of what a parser follows (128), and far beyond.
            let depth = *dice.pick(&[2, 126, 127, 128, 129, 5_000]);
            let (open, close) = *dice.pick(&[("[", "]"), ("{\"a\":", "}")]);
            let inside = if open == "[" { "" } else { "1" };
            Node::Leaf(format!("{}{inside}{}", open.repeat(depth), close.repeat(depth)))
        }
        1 => Node::Leaf(format!("\"{}\"", CANARY.repeat(1 << dice.below(14)))),
        2 => Node::Leaf(format!("{}.{}", "9".repeat(1 + dice.below(400)), "9".repeat(1 + dice.below(400)))),
        3..=9 => Node::Leaf(Value::from(*dice.pick(&TEXTS)).to_string()),
        10 => Node::List(vec![drawn(dice), drawn(dice)]),
        11 => Node::Object(vec![("a".to_owned(), drawn(dice)), ("a".to_owned(), drawn(dice))]),
        _ => Node::Leaf((*dice.pick(&LEAVES)).to_owned()),
    }
}

/// Changes bytes without regard to what they mean.
pub(crate) fn bruise(bytes: &mut Vec<u8>, dice: &Dice) {
    let at = dice.below(bytes.len() + 1);
    match dice.below(7) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, (dice.below(256)) as u8),
        2 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        3 if at < bytes.len() => drop(bytes.remove(at)),
        4 => bytes.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
        5 => bytes.extend_from_slice(ENDS[dice.below(ENDS.len())]),
        _ => {
            let from = dice.below(bytes.len() + 1).min(at);
            let piece = bytes[from..at].to_vec();
            bytes.splice(at..at, piece).for_each(drop);
        }
    }
}
