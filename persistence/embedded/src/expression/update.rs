//! Updates. All that one reads is the row as it was before.

use std::cmp::Ordering;

use super::path::{Known, Path, Scope};
use super::reader::Reader;
use super::{Expression, Given};
use crate::error::Refusal;
use crate::value::{Item, Text, Value, decoded, number};

/// What is done to a row.
#[derive(Debug, Default)]
pub(crate) struct Update {
    set: Vec<(Path, Sum)>,
    remove: Vec<Path>,
    add: Vec<(Path, Box<str>)>,
    delete: Vec<(Path, Box<str>)>,
}

/// `a`, `a + b` or `a - b`.
#[derive(Debug)]
struct Sum {
    first: Operand,
    second: Option<(Sign, Operand)>,
}

#[derive(Debug, Clone, Copy)]
enum Sign {
    Plus,
    Minus,
}

#[derive(Debug)]
enum Operand {
    Path(Path),
    Value(Box<str>),
    IfNotExists(Path, Box<Operand>),
    ListAppend(Box<Operand>, Box<Operand>),
    Group(Box<Sum>),
}

/// What becomes of one path.
enum Change<'v> {
    Set(Value<'v>),
    Add(Value<'v>),
    Delete(Value<'v>),
}

impl Expression for Update {
    const KIND: &str = "UpdateExpression";

    fn read(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        let mut update = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        loop {
            let keywords = ["SET", "REMOVE", "ADD", "DELETE"];
            let Some(section) = keywords.into_iter().find(|keyword| reader.takes_word(keyword)) else {
                return Err(reader.unexpected());
            };
            if seen.contains(&section) {
                return Err(reader.wrong(&format!(
                    "The \"{section}\" section can only be used once in an update expression;"
                )));
            }
            seen.push(section);
            loop {
                let path = reader.path()?;
                match section {
                    "SET" => {
                        reader.must("=")?;
                        update.set.push((path, sum(reader)?));
                    }
                    "REMOVE" => update.remove.push(path),
                    "ADD" => update.add.push((path, reader.value()?)),
                    _ => update.delete.push((path, reader.value()?)),
                }
                if !reader.takes(",") {
                    break;
                }
            }
            if reader.peek().is_none() {
                return Ok(update);
            }
        }
    }
}

fn sum(reader: &mut Reader<'_>) -> Result<Sum, Refusal> {
    let first = reader.nested(operand)?;
    let sign = if reader.takes("+") {
        Sign::Plus
    } else if reader.takes("-") {
        Sign::Minus
    } else {
        return Ok(Sum { first, second: None });
    };
    Ok(Sum { first, second: Some((sign, reader.nested(operand)?)) })
}

fn operand(reader: &mut Reader<'_>) -> Result<Operand, Refusal> {
    if let Some(value) = reader.takes_value() {
        return Ok(Operand::Value(value));
    }
    if reader.takes("(") {
        let group = sum(reader)?;
        reader.must(")")?;
        return Ok(Operand::Group(Box::new(group)));
    }
    let Some(function) = reader.takes_function() else { return Ok(Operand::Path(reader.path()?)) };
    let operand = match &*function {
        "if_not_exists" => {
            let path = reader.path()?;
            reader.must(",")?;
            Operand::IfNotExists(path, Box::new(reader.nested(operand)?))
        }
        "list_append" => {
            let first = reader.nested(operand)?;
            reader.must(",")?;
            Operand::ListAppend(Box::new(first), Box::new(reader.nested(operand)?))
        }
        other => return Err(reader.wrong(&format!("Invalid function name; function: {other}"))),
    };
    reader.must(")")?;
    Ok(operand)
}

impl Update {
    /// Refuses what can never be done, before any row is looked at.
    pub(crate) fn check(&self, given: Given<'_, '_>) -> Result<(), Refusal> {
        let scope = Scope(given);
        let paths: Vec<Vec<Known<'_>>> = self.targets().map(|path| path.known(scope).collect()).collect();
        for (at, one) in paths.iter().enumerate() {
            for other in &paths[at + 1..] {
                let common = one.iter().zip(other).take_while(|(one, other)| one == other).count();
                if common == one.len() || common == other.len() {
                    return Err(wrong(
                        "Two document paths overlap with each other; must remove or rewrite one of these paths;",
                    ));
                }
            }
        }
        for (_, value) in &self.add {
            let value = scope.value(value)?;
            if !matches!(value, Value::N(_) | Value::Ss(_) | Value::Ns(_) | Value::Bs(_)) {
                return Err(incorrect("ADD", value));
            }
        }
        for (_, value) in &self.delete {
            let value = scope.value(value)?;
            if !matches!(value, Value::Ss(_) | Value::Ns(_) | Value::Bs(_)) {
                return Err(incorrect("DELETE", value));
            }
        }
        self.set.iter().try_for_each(|(_, sum)| sum.check(scope))
    }

    /// The attributes that it changes.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Path> {
        let values = self.add.iter().chain(&self.delete).map(|(path, _)| path);
        self.set.iter().map(|(path, _)| path).chain(&self.remove).chain(values)
    }

    /// Does it to the row.
    pub(crate) fn apply<'v>(&self, item: &Item<'v>, given: Given<'_, 'v>) -> Result<Item<'v>, Refusal> {
        let scope = Scope(given);
        let mut changes = Vec::new();
        for (path, sum) in &self.set {
            changes.push((path, Change::Set(sum.value(item, scope)?)));
        }
        for (path, value) in &self.add {
            let value = scope.value(value)?;
            let fits = match path.find(item, scope) {
                None => true,
                Some(found) => found.type_name() == value.type_name(),
            };
            if !fits {
                return Err(mismatch());
            }
            changes.push((path, Change::Add(value.clone())));
        }
        for (path, value) in &self.delete {
            let value = scope.value(value)?;
            if path.find(item, scope).is_some_and(|found| found.type_name() != value.type_name()) {
                return Err(mismatch());
            }
            changes.push((path, Change::Delete(value.clone())));
        }
        let mut changes: Vec<(Vec<Known<'_>>, Change<'v>)> =
            changes.into_iter().map(|(path, change)| (path.known(scope).collect(), change)).collect();
        // In the order of their paths, so that what is appended to a list lands in the order of its indexes.
        changes.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut updated = item.clone();
        let mut gone = Vec::new();
        for (path, change) in changes {
            let new = match change {
                Change::Set(value) => value,
                Change::Add(value) => match find(&updated, &path) {
                    Some(found) => added(found, value)?,
                    None => value,
                },
                Change::Delete(value) => match find(&updated, &path) {
                    None => {
                        parent(&mut updated, &path)?;
                        continue;
                    }
                    Some(found) => match without(found, &value) {
                        Some(left) => left,
                        None => {
                            gone.push(path);
                            continue;
                        }
                    },
                },
            };
            set(&mut updated, &path, new)?;
        }
        for path in &self.remove {
            let path: Vec<Known<'_>> = path.known(scope).collect();
            if find(item, &path).is_some() {
                gone.push(path);
            } else {
                parent(&mut item.clone(), &path)?;
            }
        }
        // The last first, so that no index moves before it is looked at.
        gone.sort_by(|one, other| other.cmp(one));
        for path in gone {
            remove(&mut updated, &path)?;
        }
        Ok(updated)
    }
}

impl Sum {
    fn value<'v>(&self, item: &Item<'v>, scope: Scope<'_, 'v>) -> Result<Value<'v>, Refusal> {
        let first = self.first.value(item, scope)?;
        let Some((sign, second)) = &self.second else { return Ok(first) };
        let (Value::N(first), Value::N(second)) = (first, second.value(item, scope)?) else {
            return Err(mismatch());
        };
        let second = match sign {
            Sign::Plus => number(&second),
            Sign::Minus => number(&second).negated(),
        };
        Ok(Value::N(number(&first).plus(second)?.to_string().into()))
    }

    fn check(&self, scope: Scope<'_, '_>) -> Result<(), Refusal> {
        self.first.check(scope)?;
        let Some((sign, second)) = &self.second else { return Ok(()) };
        second.check(scope)?;
        let sign = match sign {
            Sign::Plus => "+",
            Sign::Minus => "-",
        };
        for operand in [&self.first, second] {
            if let Operand::Value(value) = operand
                && !matches!(scope.value(value)?, Value::N(_))
            {
                return Err(incorrect(sign, scope.value(value)?));
            }
        }
        Ok(())
    }
}

impl Operand {
    fn value<'v>(&self, item: &Item<'v>, scope: Scope<'_, 'v>) -> Result<Value<'v>, Refusal> {
        match self {
            Self::Value(name) => scope.value(name).cloned(),
            Self::Path(path) => path.find(item, scope).cloned().ok_or_else(|| {
                Refusal::invalid(
                    "The provided expression refers to an attribute that does not exist in the item",
                )
            }),
            Self::IfNotExists(path, otherwise) => match path.find(item, scope) {
                Some(found) => Ok(found.clone()),
                None => otherwise.value(item, scope),
            },
            Self::ListAppend(one, other) => match (one.value(item, scope)?, other.value(item, scope)?) {
                (Value::L(mut list), Value::L(more)) => {
                    list.extend(more);
                    Ok(Value::L(list))
                }
                _ => Err(mismatch()),
            },
            Self::Group(sum) => sum.value(item, scope),
        }
    }

    fn check(&self, scope: Scope<'_, '_>) -> Result<(), Refusal> {
        match self {
            Self::Value(_) | Self::Path(_) => Ok(()),
            Self::IfNotExists(_, otherwise) => otherwise.check(scope),
            Self::Group(sum) => sum.check(scope),
            Self::ListAppend(one, other) => {
                for operand in [one, other] {
                    operand.check(scope)?;
                    if let Self::Value(value) = &**operand
                        && !matches!(scope.value(value)?, Value::L(_))
                    {
                        return Err(incorrect("list_append", scope.value(value)?));
                    }
                }
                Ok(())
            }
        }
    }
}

fn added<'v>(found: &Value<'v>, more: Value<'v>) -> Result<Value<'v>, Refusal> {
    let union = |set: &[Text<'v>], more: Vec<Text<'v>>, order: fn(&str, &str) -> Ordering| {
        let mut set = set.to_vec();
        set.extend(more);
        set.sort_by(|one, other| order(one, other));
        set.dedup();
        set
    };
    match (found, more) {
        (Value::N(one), Value::N(other)) => {
            Ok(Value::N(number(one).plus(number(&other))?.to_string().into()))
        }
        (Value::Ss(set), Value::Ss(more)) => Ok(Value::Ss(union(set, more, str::cmp))),
        (Value::Ns(set), Value::Ns(more)) => {
            Ok(Value::Ns(union(set, more, |one, other| number(one).cmp(&number(other)))))
        }
        (Value::Bs(set), Value::Bs(more)) => {
            Ok(Value::Bs(union(set, more, |one, other| decoded(one).cmp(&decoded(other)))))
        }
        _ => Err(mismatch()),
    }
}

/// What is left of a set, if anything.
fn without<'v>(found: &Value<'v>, less: &Value<'v>) -> Option<Value<'v>> {
    let left = |set: &[Text<'v>], less: &[Text<'v>]| {
        let left: Vec<Text<'v>> = set.iter().filter(|member| !less.contains(member)).cloned().collect();
        (!left.is_empty()).then_some(left)
    };
    match (found, less) {
        (Value::Ss(set), Value::Ss(less)) => left(set, less).map(Value::Ss),
        (Value::Ns(set), Value::Ns(less)) => left(set, less).map(Value::Ns),
        (Value::Bs(set), Value::Bs(less)) => left(set, less).map(Value::Bs),
        // Checked before: both are of one type.
        (other, _) => Some(other.clone()),
    }
}

fn find<'i, 'v>(item: &'i Item<'v>, path: &[Known<'_>]) -> Option<&'i Value<'v>> {
    let (Known::Name(first), rest) = path.split_first()? else { return None };
    rest.iter().try_fold(item.get(first)?, |value, step| match (value, step) {
        (Value::M(map), Known::Name(name)) => map.get(name),
        (Value::L(list), Known::Index(index)) => list.get(*index),
        _ => None,
    })
}

/// What holds the last step of a path.
enum Parent<'i, 'v> {
    Map(&'i mut Item<'v>),
    List(&'i mut Vec<Value<'v>>),
}

fn parent<'i, 'v>(item: &'i mut Item<'v>, path: &[Known<'_>]) -> Result<Parent<'i, 'v>, Refusal> {
    let mut at = Parent::Map(item);
    for (number, step) in path.iter().enumerate() {
        let is_last = number + 1 == path.len();
        let next = match (at, step) {
            (Parent::Map(map), Known::Name(_)) if is_last => return Ok(Parent::Map(map)),
            (Parent::List(list), Known::Index(_)) if is_last => return Ok(Parent::List(list)),
            (Parent::Map(map), Known::Name(name)) => map.get_mut(name),
            (Parent::List(list), Known::Index(index)) => list.get_mut(*index),
            _ => None,
        };
        at = match next {
            Some(Value::M(map)) => Parent::Map(map),
            Some(Value::L(list)) => Parent::List(list),
            _ => return Err(astray()),
        };
    }
    Err(astray())
}

fn set<'v>(item: &mut Item<'v>, path: &[Known<'_>], value: Value<'v>) -> Result<(), Refusal> {
    match (parent(item, path)?, path.last()) {
        (Parent::Map(map), Some(Known::Name(name))) => map.set((*name).to_owned().into(), value),
        (Parent::List(list), Some(Known::Index(index))) => match list.get_mut(*index) {
            Some(member) => *member = value,
            None => list.push(value),
        },
        _ => return Err(astray()),
    }
    Ok(())
}

fn remove(item: &mut Item<'_>, path: &[Known<'_>]) -> Result<(), Refusal> {
    match (parent(item, path)?, path.last()) {
        (Parent::Map(map), Some(Known::Name(name))) => map.remove(name),
        (Parent::List(list), Some(Known::Index(index))) if *index < list.len() => {
            list.remove(*index);
        }
        _ => {}
    }
    Ok(())
}

fn wrong(problem: &str) -> Refusal {
    Refusal::invalid(format!("Invalid UpdateExpression: {problem}"))
}

fn incorrect(operator: &str, value: &Value<'_>) -> Refusal {
    wrong(&format!(
        "Incorrect operand type for operator or function; operator: {operator}, operand type: {}",
        value.type_name()
    ))
}

fn mismatch() -> Refusal {
    Refusal::invalid("An operand in the update expression has an incorrect data type")
}

fn astray() -> Refusal {
    Refusal::invalid("The document path provided in the update expression is invalid for update")
}
