//! Random expressions.

use serde_json::{Value, json};

use super::{ATTRIBUTES, BYTES, Maker, NUMBERS, PLAIN, TEXTS};

impl Maker {
    fn path(&mut self) -> String {
        match self.below(12) {
            0 => format!("{}.a", self.name("m")),
            1 => format!("{}.b.c", self.name("m")),
            2 => format!("{}[{}]", self.name("l"), self.below(3)),
            3 => format!("{}.{}", self.name("x"), self.of(&["a", "b"])),
            _ => {
                let attribute = self.of(&ATTRIBUTES);
                self.name(attribute)
            }
        }
    }

    pub(super) fn projection(&mut self) -> String {
        let paths: Vec<String> = (0..1 + self.below(3)).map(|_| self.path()).collect();
        paths.join(", ")
    }

    fn operand(&mut self) -> String {
        match self.below(5) {
            0 => self.path(),
            1 => format!("size({})", self.path()),
            _ => {
                let value = self.value(1);
                self.named_value(value)
            }
        }
    }

    pub(super) fn condition(&mut self, depth: usize) -> String {
        if depth > 0 && self.is(45) {
            let one = self.condition(depth - 1);
            if self.is(25) {
                return format!("NOT ({one})");
            }
            let other = self.condition(depth - 1);
            return match self.below(3) {
                0 => format!("({one}) OR {other}"),
                1 => format!("{one} AND ({other})"),
                _ => format!("{one} and {other}"),
            };
        }
        let path = self.path();
        match self.below(11) {
            0 => format!("attribute_exists({path})"),
            1 => format!("attribute_not_exists({path})"),
            2 => {
                let kind =
                    json!({"S": self.of(&["S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS"])});
                format!("attribute_type({path}, {})", self.named_value(kind))
            }
            3 => {
                let value = self.scalar("S");
                format!("begins_with({path}, {})", self.named_value(value))
            }
            4 => {
                let value = self.value(1);
                format!("contains({path}, {})", self.named_value(value))
            }
            5 => {
                let kind = self.of(&["S", "N"]);
                let (mut low, mut high) = (self.scalar(kind), self.scalar(kind));
                // `dynoxide` refuses bounds in the wrong order only when it comes by them: `tests/calls` has ours.
                if is_more(&low[kind], &high[kind]) {
                    std::mem::swap(&mut low, &mut high);
                }
                let (low, high) = (self.named_value(low), self.named_value(high));
                format!("{path} BETWEEN {low} AND {high}")
            }
            6 => format!("{path} IN ({}, {})", self.operand(), self.operand()),
            7 => {
                let size = self.named_value(json!({"N": "2"}));
                format!("size({path}) {} {size}", self.of(&["<", "=", ">="]))
            }
            8 => format!("{path} {} {}", self.of(&["=", "<>"]), self.operand()),
            _ => {
                // `dynoxide` lets other types through, which never compare: `tests/calls` has ours.
                let kind = self.of(&["S", "N", "B"]);
                let value = self.scalar(kind);
                format!("{path} {} {}", self.of(&["<", "<=", ">", ">="]), self.named_value(value))
            }
        }
    }

    pub(super) fn update_text(&mut self) -> String {
        let mut sections = Vec::new();
        if self.is(75) {
            let sets: Vec<String> = (0..1 + self.below(2)).map(|_| self.assignment()).collect();
            sections.push(format!("SET {}", sets.join(", ")));
        }
        if self.is(25) {
            sections.push(format!("REMOVE {}", self.path()));
        }
        if self.is(25) {
            let (attribute, kind) =
                self.of(&[("n", 0), ("ns", 1), ("ss", 2), ("x", 0), ("x", 1), ("x", 2), ("x", 3)]);
            let (path, value) = (self.name(attribute), self.added(kind));
            sections.push(format!("ADD {path} {}", self.named_value(value)));
        }
        if self.is(15) {
            let (attribute, kind) = self.of(&[("ns", 1), ("ss", 2), ("x", 1), ("x", 2), ("x", 3)]);
            let (path, value) = (self.name(attribute), self.added(kind));
            sections.push(format!("DELETE {path} {}", self.named_value(value)));
        }
        if sections.is_empty() {
            return "SET x = x".to_owned();
        }
        sections.join(" ")
    }

    fn added(&mut self, kind: usize) -> Value {
        match kind {
            0 => self.scalar("N"),
            1 => json!({"NS": self.set(&NUMBERS[..PLAIN])}),
            2 => json!({"SS": self.set(&TEXTS)}),
            _ => json!({"BS": self.set(&BYTES)}),
        }
    }

    fn assignment(&mut self) -> String {
        let attribute = self.of(&ATTRIBUTES);
        let value = self.fitting(attribute);
        match self.below(7) {
            0 => format!(
                "{} = if_not_exists({}, {})",
                self.name(attribute),
                self.path(),
                self.named_value(value)
            ),
            1 => {
                let (list, more) = (self.name("l"), self.value(1));
                format!("{list} = list_append({list}, {})", self.named_value(json!({"L": [more]})))
            }
            2 => {
                let (number, more) = (self.name("n"), self.scalar("N"));
                let sign = self.of(&["+", "-"]);
                format!("{number} = {number} {sign} {}", self.named_value(more))
            }
            3 => format!("{} = {}", self.path(), self.named_value(value)),
            4 => format!("{} = {}", self.name("x"), self.path()),
            _ => format!("{} = {}", self.name(attribute), self.named_value(value)),
        }
    }
}

/// Which of two numbers or texts comes later.
fn is_more(one: &Value, other: &Value) -> bool {
    let (one, other) = (one.as_str().unwrap(), other.as_str().unwrap());
    match (one.parse::<f64>(), other.parse::<f64>()) {
        (Ok(one), Ok(other)) => one > other,
        _ => one > other,
    }
}
