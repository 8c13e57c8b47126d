//! From an expression's text to its words.

use std::sync::LazyLock;

use super::path::{Path, Step};
use crate::error::Refusal;

/// How deep an expression may go.
const DEPTH_MAX: usize = 300;

/// Words that cannot name an attribute, as AWS lists them.
static RESERVED: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("reserved_words.txt").lines().collect());

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// `a`.
    Word(Box<str>),
    /// `#a`.
    Name(Box<str>),
    /// `:a`.
    Value(Box<str>),
    /// `7`.
    Index(Box<str>),
    /// `<=`, `(`.
    Sign(&'static str),
}

/// Reads words one after another, and remembers which placeholders it has seen.
pub(crate) struct Reader<'t> {
    text: &'t str,
    kind: &'static str,
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: usize,
    names: Vec<Box<str>>,
    values: Vec<Box<str>>,
}

const SIGNS: [&str; 15] = ["<>", "<=", ">=", "=", "<", ">", "(", ")", ",", ".", "[", "]", "+", "-", "*"];

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, kind: &'static str) -> Result<Self, Refusal> {
        let mut reader =
            Self { text, kind, tokens: Vec::new(), at: 0, depth: 0, names: Vec::new(), values: Vec::new() };
        let mut rest = text;
        loop {
            rest = rest.trim_start();
            let Some(first) = rest.chars().next() else { return Ok(reader) };
            let at = text.len() - rest.len();
            let sign = usize::from(matches!(first, '#' | ':'));
            let end = rest[sign..].find(|c: char| !is_word(c)).map_or(rest.len(), |end| sign + end);
            let (word, left) = rest.split_at(end);
            let token = if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                rest = &rest[sign.len()..];
                reader.tokens.push((Token::Sign(sign), at));
                continue;
            } else if word.len() == sign {
                reader.at = reader.tokens.len();
                return Err(reader.syntax(&rest[..first.len_utf8()], at));
            } else {
                match first {
                    '#' => Token::Name(word.into()),
                    ':' => Token::Value(word.into()),
                    '0'..='9' => Token::Index(word.into()),
                    _ => Token::Word(word.into()),
                }
            };
            rest = left;
            reader.tokens.push((token, at));
        }
    }

    pub(super) fn placeholders(self) -> (Vec<Box<str>>, Vec<Box<str>>) {
        (self.names, self.values)
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    /// The sign at the front, if it is this one.
    pub(super) fn takes(&mut self, sign: &str) -> bool {
        let is_it = matches!(self.peek(), Some(Token::Sign(own)) if *own == sign);
        self.at += usize::from(is_it);
        is_it
    }

    pub(super) fn must(&mut self, sign: &str) -> Result<(), Refusal> {
        if self.takes(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// The keyword at the front, if it is this one, in whatever case.
    pub(super) fn takes_word(&mut self, keyword: &str) -> bool {
        let is_it = matches!(self.peek(), Some(Token::Word(own)) if own.eq_ignore_ascii_case(keyword));
        self.at += usize::from(is_it);
        is_it
    }

    pub(super) fn must_word(&mut self, keyword: &str) -> Result<(), Refusal> {
        if self.takes_word(keyword) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// The name of the function at the front, if one is.
    pub(super) fn takes_function(&mut self) -> Option<Box<str>> {
        let is_call = matches!(self.tokens.get(self.at + 1), Some((Token::Sign("("), _)));
        let name = match self.peek() {
            Some(Token::Word(name)) if is_call => name.clone(),
            _ => return None,
        };
        self.at += 2;
        Some(name)
    }

    /// `:a`, if one is at the front.
    pub(super) fn takes_value(&mut self) -> Option<Box<str>> {
        let Some(Token::Value(value)) = self.peek() else { return None };
        let value = value.clone();
        self.at += 1;
        if !self.values.contains(&value) {
            self.values.push(value.clone());
        }
        Some(value)
    }

    pub(super) fn value(&mut self) -> Result<Box<str>, Refusal> {
        self.takes_value().ok_or_else(|| self.unexpected())
    }

    /// `a.#b[3]`.
    pub(super) fn path(&mut self) -> Result<Path, Refusal> {
        let mut steps = vec![self.step()?];
        loop {
            if self.takes(".") {
                steps.push(self.step()?);
            } else if self.takes("[") {
                let Some(Token::Index(index)) = self.peek() else { return Err(self.unexpected()) };
                let index = index.parse().map_err(|_| self.unexpected())?;
                self.at += 1;
                self.must("]")?;
                steps.push(Step::Index(index));
            } else {
                return Ok(Path(steps));
            }
        }
    }

    fn step(&mut self) -> Result<Step, Refusal> {
        let step = match self.peek() {
            Some(Token::Word(name)) => {
                if RESERVED.binary_search(&name.to_ascii_uppercase().as_str()).is_ok() {
                    return Err(self
                        .wrong(&format!("Attribute name is a reserved keyword; reserved keyword: {name}")));
                }
                Step::Name(name.clone())
            }
            Some(Token::Name(placeholder)) => {
                let placeholder = placeholder.clone();
                if !self.names.contains(&placeholder) {
                    self.names.push(placeholder.clone());
                }
                Step::Placeholder(placeholder)
            }
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(step)
    }

    /// Reads something that may hold itself.
    pub(super) fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong("The expression contains too many operators;"));
        }
        let read = read(self)?;
        self.depth -= 1;
        Ok(read)
    }

    pub(super) fn end(&self) -> Result<(), Refusal> {
        if self.peek().is_none() { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn unexpected(&self) -> Refusal {
        match self.tokens.get(self.at) {
            Some((token, at)) => self.syntax(token.text(), *at),
            None => self.wrong("Syntax error; token: \"<EOF>\""),
        }
    }

    pub(super) fn wrong(&self, problem: &str) -> Refusal {
        Refusal::invalid(format!("Invalid {}: {problem}", self.kind))
    }

    fn syntax(&self, token: &str, at: usize) -> Refusal {
        let from =
            self.at.checked_sub(1).and_then(|before| self.tokens.get(before)).map_or(at, |(_, at)| *at);
        let next =
            self.tokens.get(self.at + 1).map_or(self.text.len(), |(token, at)| at + token.text().len());
        let near = self.text.get(from..next.max(at)).unwrap_or_default();
        self.wrong(&format!("Syntax error; token: \"{token}\", near: \"{near}\""))
    }
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(text) | Self::Name(text) | Self::Value(text) | Self::Index(text) => text,
            Self::Sign(sign) => sign,
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
