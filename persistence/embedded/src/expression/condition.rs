//! Conditions and filters.

use std::cmp::Ordering;

use super::path::{Known, Path, Scope};
use super::reader::{Reader, Token};
use super::{Expression, Given};
use crate::error::Refusal;
use crate::value::{Item, Value};

/// What must hold of a row.
#[derive(Debug)]
pub(crate) struct Condition(Test);

/// What must hold of a row that is shown.
#[derive(Debug)]
pub(crate) struct Filter(Condition);

#[derive(Debug)]
enum Test {
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
    Compare(Operand, Comparison, Operand),
    Between(Operand, Operand, Operand),
    In(Operand, Vec<Operand>),
    Exists(Path),
    NotExists(Path),
    IsOfType(Path, Operand),
    BeginsWith(Operand, Operand),
    Contains(Operand, Operand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

#[derive(Debug)]
enum Operand {
    Path(Path),
    Value(Box<str>),
    Size(Path),
}

/// An operand's value; sizes are made.
enum Found<'f, 'v> {
    There(&'f Value<'v>),
    Made(Value<'v>),
}

impl<'v> Found<'_, 'v> {
    const fn get(&self) -> &Value<'v> {
        match self {
            Self::There(value) => value,
            Self::Made(value) => value,
        }
    }
}

impl Expression for Condition {
    const KIND: &str = "ConditionExpression";

    fn read(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        Ok(Self(any(reader)?))
    }
}

impl Expression for Filter {
    const KIND: &str = "FilterExpression";

    fn read(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        Ok(Self(Condition::read(reader)?))
    }
}

impl Filter {
    pub(crate) const fn condition(&self) -> &Condition {
        &self.0
    }
}

impl Condition {
    /// Whether it holds of the row; one that is not there has no attributes.
    pub(crate) fn holds(&self, item: &Item<'_>, given: Given<'_, '_>) -> Result<bool, Refusal> {
        self.0.holds(item, Scope(given))
    }

    /// Refuses operands that can never be right, before any row is looked at.
    pub(crate) fn check(&self, given: Given<'_, '_>, kind: &str) -> Result<(), Refusal> {
        self.0.check(Scope(given)).map_err(|problem| Refusal::invalid(format!("Invalid {kind}: {problem}")))
    }

    /// The attributes that it asks about.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        let mut paths = Vec::new();
        self.0.paths(&mut paths);
        paths
    }
}

fn any(reader: &mut Reader<'_>) -> Result<Test, Refusal> {
    let mut tests = vec![all(reader)?];
    while reader.takes_word("OR") {
        tests.push(all(reader)?);
    }
    Ok(one_or(tests, Test::Any))
}

fn all(reader: &mut Reader<'_>) -> Result<Test, Refusal> {
    let mut tests = vec![negated(reader)?];
    while reader.takes_word("AND") {
        tests.push(negated(reader)?);
    }
    Ok(one_or(tests, Test::All))
}

fn one_or(mut tests: Vec<Test>, more: impl FnOnce(Vec<Test>) -> Test) -> Test {
    match tests.pop() {
        Some(only) if tests.is_empty() => only,
        Some(last) => {
            tests.push(last);
            more(tests)
        }
        None => more(tests),
    }
}

fn negated(reader: &mut Reader<'_>) -> Result<Test, Refusal> {
    if reader.takes_word("NOT") {
        return Ok(Test::Not(Box::new(reader.nested(negated)?)));
    }
    if reader.takes("(") {
        let test = reader.nested(any)?;
        reader.must(")")?;
        return Ok(test);
    }
    single(reader)
}

fn single(reader: &mut Reader<'_>) -> Result<Test, Refusal> {
    let is_size = matches!(reader.peek(), Some(Token::Word(word)) if &**word == "size");
    if !is_size && let Some(function) = reader.takes_function() {
        let test = match &*function {
            "attribute_exists" => Test::Exists(reader.path()?),
            "attribute_not_exists" => Test::NotExists(reader.path()?),
            "attribute_type" => {
                let path = reader.path()?;
                reader.must(",")?;
                Test::IsOfType(path, operand(reader)?)
            }
            "begins_with" | "contains" => {
                let of = operand(reader)?;
                reader.must(",")?;
                let what = operand(reader)?;
                if &*function == "contains" { Test::Contains(of, what) } else { Test::BeginsWith(of, what) }
            }
            other => return Err(reader.wrong(&format!("Invalid function name; function: {other}"))),
        };
        reader.must(")")?;
        return Ok(test);
    }
    let left = operand(reader)?;
    if reader.takes_word("BETWEEN") {
        let low = operand(reader)?;
        reader.must_word("AND")?;
        return Ok(Test::Between(left, low, operand(reader)?));
    }
    if reader.takes_word("IN") {
        reader.must("(")?;
        let mut operands = vec![operand(reader)?];
        while reader.takes(",") {
            operands.push(operand(reader)?);
        }
        reader.must(")")?;
        return Ok(Test::In(left, operands));
    }
    let comparisons = [
        ("=", Comparison::Equal),
        ("<>", Comparison::Unequal),
        ("<", Comparison::Less),
        ("<=", Comparison::AtMost),
        (">", Comparison::More),
        (">=", Comparison::AtLeast),
    ];
    match comparisons.into_iter().find(|(sign, _)| reader.takes(sign)) {
        Some((_, comparison)) => Ok(Test::Compare(left, comparison, operand(reader)?)),
        None => Err(reader.unexpected()),
    }
}

fn operand(reader: &mut Reader<'_>) -> Result<Operand, Refusal> {
    if let Some(value) = reader.takes_value() {
        return Ok(Operand::Value(value));
    }
    match reader.takes_function() {
        None => Ok(Operand::Path(reader.path()?)),
        Some(function) if &*function == "size" => {
            let path = reader.path()?;
            reader.must(")")?;
            Ok(Operand::Size(path))
        }
        Some(other) => Err(reader.wrong(&format!("Invalid function name; function: {other}"))),
    }
}

impl Operand {
    fn find<'f, 'v>(
        &self,
        item: &'f Item<'v>,
        scope: Scope<'f, 'v>,
    ) -> Result<Option<Found<'f, 'v>>, Refusal> {
        Ok(match self {
            Self::Path(path) => path.find(item, scope).map(Found::There),
            Self::Value(name) => Some(Found::There(scope.value(name)?)),
            Self::Size(path) => {
                let length = path.find(item, scope).and_then(Value::length);
                length.map(|length| Found::Made(Value::N(length.to_string().into())))
            }
        })
    }

    /// The value, if it is the request's.
    fn given<'f, 'v>(&self, scope: Scope<'f, 'v>) -> Option<&'f Value<'v>> {
        match self {
            Self::Value(name) => scope.value(name).ok(),
            Self::Path(_) | Self::Size(_) => None,
        }
    }

    /// Where it looks, if it is just that.
    fn path_of<'s>(&'s self, scope: Scope<'s, '_>) -> Option<Vec<Known<'s>>> {
        match self {
            Self::Path(path) => Some(path.known(scope).collect()),
            Self::Value(_) | Self::Size(_) => None,
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) | Self::Size(path) => Some(path),
            Self::Value(_) => None,
        }
    }
}

impl Test {
    fn holds(&self, item: &Item<'_>, scope: Scope<'_, '_>) -> Result<bool, Refusal> {
        Ok(match self {
            Self::All(tests) => {
                for test in tests {
                    if !test.holds(item, scope)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Any(tests) => {
                for test in tests {
                    if test.holds(item, scope)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Not(test) => !test.holds(item, scope)?,
            Self::Compare(left, comparison, right) => {
                match (left.find(item, scope)?, right.find(item, scope)?) {
                    (Some(left), Some(right)) => comparison.holds(left.get(), right.get()),
                    // What is not there is equal to nothing.
                    _ => *comparison == Comparison::Unequal,
                }
            }
            Self::Between(value, low, high) => {
                let found = (value.find(item, scope)?, low.find(item, scope)?, high.find(item, scope)?);
                let (Some(value), Some(low), Some(high)) = found else { return Ok(false) };
                Comparison::AtLeast.holds(value.get(), low.get())
                    && Comparison::AtMost.holds(value.get(), high.get())
            }
            Self::In(value, among) => {
                let Some(value) = value.find(item, scope)? else { return Ok(false) };
                for other in among {
                    if other.find(item, scope)?.is_some_and(|other| other.get() == value.get()) {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Exists(path) => path.find(item, scope).is_some(),
            Self::NotExists(path) => path.find(item, scope).is_none(),
            Self::IsOfType(path, wanted) => {
                let (found, wanted) = (path.find(item, scope), wanted.find(item, scope)?);
                matches!((found, wanted.as_ref().map(Found::get)),
                    (Some(found), Some(Value::S(wanted))) if found.type_name() == wanted)
            }
            Self::BeginsWith(of, with) => match (of.find(item, scope)?, with.find(item, scope)?) {
                (Some(of), Some(with)) => begins_with(of.get(), with.get()),
                _ => false,
            },
            Self::Contains(of, what) => match (of.find(item, scope)?, what.find(item, scope)?) {
                (Some(of), Some(what)) => contains(of.get(), what.get()),
                _ => false,
            },
        })
    }

    fn check(&self, scope: Scope<'_, '_>) -> Result<(), String> {
        match self {
            Self::All(tests) | Self::Any(tests) => tests.iter().try_for_each(|test| test.check(scope)),
            Self::Not(test) => test.check(scope),
            Self::Compare(left, comparison, right) => {
                if matches!(comparison, Comparison::Equal | Comparison::Unequal) {
                    return Ok(());
                }
                [left, right]
                    .into_iter()
                    .filter_map(|operand| operand.given(scope))
                    .try_for_each(|value| ordered(value, comparison.sign()))
            }
            Self::Between(_, low, high) => match (low.given(scope), high.given(scope)) {
                (Some(low), Some(high)) => {
                    ordered(low, "BETWEEN")?;
                    ordered(high, "BETWEEN")?;
                    match low.compare(high) {
                        None => Err("The BETWEEN operator requires same data type for lower and upper bounds".to_owned()),
                        Some(Ordering::Greater) => {
                            Err("The BETWEEN operator requires upper bound to be greater than or equal to lower bound".to_owned())
                        }
                        Some(_) => Ok(()),
                    }
                }
                _ => Ok(()),
            },
            Self::IsOfType(_, wanted) => match wanted.given(scope) {
                Some(Value::S(name)) if TYPES.contains(&&**name) => Ok(()),
                None => Ok(()),
                Some(Value::S(name)) => Err(format!("Invalid attribute type name found; type: {name}")),
                Some(other) => Err(incorrect("attribute_type", other)),
            },
            Self::BeginsWith(of, with) => {
                for value in [of, with].into_iter().filter_map(|operand| operand.given(scope)) {
                    if !matches!(value, Value::S(_) | Value::B(_)) {
                        return Err(incorrect("begins_with", value));
                    }
                }
                Ok(())
            }
            Self::Contains(of, what) if of.path_of(scope).is_some_and(|path| what.path_of(scope) == Some(path)) => {
                Err("The first operand must be distinct from the remaining operands for this operator or function; operator: contains"
                    .to_owned())
            }
            Self::In(..) | Self::Exists(_) | Self::NotExists(_) | Self::Contains(..) => Ok(()),
        }
    }

    fn paths<'e>(&'e self, paths: &mut Vec<&'e Path>) {
        match self {
            Self::All(tests) | Self::Any(tests) => tests.iter().for_each(|test| test.paths(paths)),
            Self::Not(test) => test.paths(paths),
            Self::Exists(path) | Self::NotExists(path) => paths.push(path),
            Self::IsOfType(path, operand) => {
                paths.push(path);
                paths.extend(operand.path());
            }
            Self::Compare(one, _, other) | Self::BeginsWith(one, other) | Self::Contains(one, other) => {
                paths.extend([one, other].into_iter().filter_map(Operand::path));
            }
            Self::Between(value, low, high) => {
                paths.extend([value, low, high].into_iter().filter_map(Operand::path));
            }
            Self::In(value, among) => {
                paths.extend(std::iter::once(value).chain(among).filter_map(Operand::path));
            }
        }
    }
}

/// What `attribute_type` may ask for.
const TYPES: [&str; 10] = ["S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS"];

fn ordered(value: &Value<'_>, operator: &str) -> Result<(), String> {
    match value {
        Value::S(_) | Value::N(_) | Value::B(_) => Ok(()),
        other => Err(incorrect(operator, other)),
    }
}

fn incorrect(operator: &str, value: &Value<'_>) -> String {
    format!(
        "Incorrect operand type for operator or function; operator or function: {operator}, operand type: {}",
        value.type_name()
    )
}

impl Comparison {
    fn holds(self, left: &Value<'_>, right: &Value<'_>) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Unequal => left != right,
            Self::Less => left.compare(right) == Some(Ordering::Less),
            Self::AtMost => matches!(left.compare(right), Some(Ordering::Less | Ordering::Equal)),
            Self::More => left.compare(right) == Some(Ordering::Greater),
            Self::AtLeast => matches!(left.compare(right), Some(Ordering::Greater | Ordering::Equal)),
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Unequal => "<>",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
        }
    }
}

fn begins_with(of: &Value<'_>, with: &Value<'_>) -> bool {
    match (of, with) {
        (Value::S(of), Value::S(with)) => of.starts_with(&**with),
        (Value::B(of), Value::B(with)) => crate::value::decoded(of).starts_with(&crate::value::decoded(with)),
        _ => false,
    }
}

fn contains(of: &Value<'_>, what: &Value<'_>) -> bool {
    match (of, what) {
        (Value::S(of), Value::S(what)) => of.contains(&**what),
        (Value::B(of), Value::B(what)) => {
            let (of, what) = (crate::value::decoded(of), crate::value::decoded(what));
            what.is_empty() || of.windows(what.len()).any(|window| window == what)
        }
        (Value::L(list), what) => list.contains(what),
        (Value::Ss(set), Value::S(member))
        | (Value::Ns(set), Value::N(member))
        | (Value::Bs(set), Value::B(member)) => set.contains(member),
        _ => false,
    }
}
