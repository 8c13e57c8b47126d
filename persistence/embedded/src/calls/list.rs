//! Queries and scans, page by page.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use super::get::Shown;
use super::{Unmeasured, given, parse, text};
use crate::database::Inner;
use crate::error::Refusal;
use crate::expression::{Given, Parsed, SortCondition, Used};
use crate::key;
use crate::storage::{Failed, Slice, View};
use crate::table::{Index, Schema, Table};
use crate::value::{Borrowed, Item, Names, Value};

/// Bytes that one page looks at, about.
const PAGE_BYTES: usize = 1024 * 1024;
/// Segments of one scan.
const SEGMENTS_MAX: u64 = 1_000_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Request<'a> {
    #[serde(borrow)]
    table_name: Borrowed<'a>,
    #[serde(borrow, default)]
    index_name: Option<Borrowed<'a>>,
    #[serde(borrow, default)]
    key_condition_expression: Option<Borrowed<'a>>,
    #[serde(borrow, default)]
    filter_expression: Option<Borrowed<'a>>,
    #[serde(borrow, default)]
    projection_expression: Option<Borrowed<'a>>,
    #[serde(borrow, default)]
    expression_attribute_names: Option<Names<'a>>,
    #[serde(borrow, default)]
    expression_attribute_values: Option<Item<'a>>,
    #[serde(default)]
    scan_index_forward: Option<bool>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(borrow, default)]
    exclusive_start_key: Option<Item<'a>>,
    #[serde(default)]
    select: Option<Select>,
    #[serde(default)]
    segment: Option<u64>,
    #[serde(default)]
    total_segments: Option<u64>,
    #[serde(default)]
    consistent_read: bool,
    #[serde(default, rename = "ReturnConsumedCapacity")]
    _capacity: Unmeasured,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Select {
    AllAttributes,
    AllProjectedAttributes,
    SpecificAttributes,
    Count,
}

/// What a page is made of.
struct Plan<'r, 'a> {
    table: Arc<Table>,
    /// Which of the table's indexes; `None` is the table itself.
    index: Option<usize>,
    keys: Range<Vec<u8>>,
    backwards: bool,
    filter: Option<Arc<Parsed<crate::expression::Filter>>>,
    shown: Shown<'r, 'a>,
    given: Given<'r, 'a>,
    counts_only: bool,
    limit: usize,
    /// Which part of a scan.
    segment: Option<(u64, u64)>,
}

/// A page as it grows.
#[derive(Default)]
struct Page {
    items: Vec<u8>,
    count: usize,
    scanned: usize,
    bytes: usize,
    last: Option<Slice>,
    problem: Option<Refusal>,
}

pub(super) fn query(inner: &Inner, body: &[u8]) -> Result<Bytes, Refusal> {
    let request: Request<'_> = parse(body)?;
    if request.segment.is_some() || request.total_segments.is_some() {
        return Err(Refusal::invalid("A query has no segments"));
    }
    let Some(text) = text(&request.key_condition_expression) else {
        return Err(Refusal::invalid(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
        ));
    };
    let condition = inner.expressions.keys.get(text)?;
    let (table, index) = request.place(inner)?;
    let given = request.given();
    let mut used = Used::default();
    used.add(&condition, given)?;
    let plan = {
        let schema = schema_of(&table, index);
        let names = (schema.hash.name.as_str(), schema.range.as_ref().map(|range| range.name.as_str()));
        let (partition, sort) = condition.expression.resolve(names.0, names.1, given)?;
        let mut prefix = Vec::new();
        push_key(slot_of(&table, index), &schema.hash, partition, &mut prefix)?;
        let keys = match (sort, &schema.range) {
            (Some(sort), Some(range)) => {
                for value in sort.values() {
                    push_key(0, range, value, &mut Vec::new())?;
                }
                sorted(&prefix, sort)
            }
            _ => key::under(&prefix),
        };
        request.plan(inner, table, index, keys, used)?
    };
    plan.answer(inner, request.exclusive_start_key.as_ref())
}

pub(super) fn scan(inner: &Inner, body: &[u8]) -> Result<Bytes, Refusal> {
    let request: Request<'_> = parse(body)?;
    if request.key_condition_expression.is_some() || request.scan_index_forward.is_some() {
        return Err(Refusal::invalid("A scan has no keys and no direction"));
    }
    let (table, index) = request.place(inner)?;
    let keys = key::under(&key::slot(slot_of(&table, index)));
    let plan = request.plan(inner, table, index, keys, Used::default())?;
    plan.answer(inner, request.exclusive_start_key.as_ref())
}

fn index_of(table: &Table, index: Option<usize>) -> Option<&Index> {
    index.and_then(|index| table.indexes.get(index))
}

fn schema_of(table: &Table, index: Option<usize>) -> &Schema {
    index_of(table, index).map_or(&table.schema, |index| &index.schema)
}

fn slot_of(table: &Table, index: Option<usize>) -> u16 {
    index_of(table, index).map_or(table.slot(), |index| index.slot)
}

/// The keys of a partition that fit.
fn sorted(partition: &[u8], condition: SortCondition<'_, '_>) -> Range<Vec<u8>> {
    let at = |value: &Value<'_>| {
        let mut key = partition.to_vec();
        key::push(value, &mut key);
        key
    };
    let Range { start, end } = key::under(partition);
    match condition {
        SortCondition::Equal(value) => key::under(&at(value)),
        SortCondition::Less(value) => start..at(value),
        SortCondition::AtMost(value) => start..key::after(&at(value)),
        SortCondition::More(value) => key::after(&at(value))..end,
        SortCondition::AtLeast(value) => at(value)..end,
        SortCondition::Between(low, high) => at(low)..key::after(&at(high)),
        SortCondition::BeginsWith(value) => {
            let mut open = partition.to_vec();
            key::push_open(value, &mut open);
            key::under(&open)
        }
    }
}

fn push_key(
    slot: u16,
    attribute: &crate::table::Attribute,
    value: &Value<'_>,
    key: &mut Vec<u8>,
) -> Result<(), Refusal> {
    if !attribute.kind.is(value) {
        return Err(Refusal::invalid(
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        ));
    }
    attribute.push(slot, value, key)
}

impl<'a> Request<'a> {
    fn given<'r>(&'r self) -> Given<'r, 'a> {
        given(&self.expression_attribute_names, &self.expression_attribute_values)
    }

    /// The table, and which of its indexes.
    fn place(&self, inner: &Inner) -> Result<(Arc<Table>, Option<usize>), Refusal> {
        let table = inner.tables.get(&self.table_name.0)?;
        let Some(name) = text(&self.index_name) else { return Ok((table, None)) };
        let slot = table.index(name)?.slot;
        if self.consistent_read {
            return Err(Refusal::invalid("Consistent reads are not supported on global secondary indexes"));
        }
        let at = table.indexes.iter().position(|index| index.slot == slot);
        Ok((table, at))
    }

    fn plan<'r>(
        &'r self,
        inner: &Inner,
        table: Arc<Table>,
        index: Option<usize>,
        keys: Range<Vec<u8>>,
        used: Used<'_>,
    ) -> Result<Plan<'r, 'a>, Refusal> {
        let given = self.given();
        let filter =
            text(&self.filter_expression).map(|text| inner.expressions.filters.get(text)).transpose()?;
        let shown = Shown::of(inner, text(&self.projection_expression), given)?;
        {
            let mut used = used;
            if let Some(filter) = &filter {
                used.add(filter, given)?;
            }
            shown.check(&mut used)?;
            used.check(given)?;
        }
        if let Some(filter) = &filter {
            filter.expression.condition().check(given, "FilterExpression")?;
            let schema = schema_of(&table, index);
            let mut asked =
                filter.expression.condition().paths().into_iter().filter_map(|path| path.first(given));
            if self.key_condition_expression.is_some()
                && let Some(name) = asked.find(|asked| schema.names().any(|name| name == *asked))
            {
                return Err(Refusal::invalid(format!(
                    "Filter Expression can only contain non-primary key attributes: Primary key attribute: {name}"
                )));
            }
        }
        let is_part = shown.is_part();
        let fits = match self.select {
            None => true,
            Some(Select::SpecificAttributes) => is_part,
            Some(Select::AllProjectedAttributes) => !is_part && index.is_some(),
            Some(Select::AllAttributes) => {
                !is_part && index_of(&table, index).is_none_or(|index| index.shows.is_none())
            }
            Some(Select::Count) => !is_part,
        };
        if !fits {
            return Err(Refusal::invalid("The Select of the request does not go with the rest of it"));
        }
        if self.limit == Some(0) {
            return Err(Refusal::invalid(
                "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1",
            ));
        }
        let segment = match (self.segment, self.total_segments) {
            (None, None) => None,
            (Some(segment), Some(total)) if segment < total && total <= SEGMENTS_MAX => {
                Some((segment, total))
            }
            _ => return Err(Refusal::invalid("The segments of the scan make no sense")),
        };
        Ok(Plan {
            index,
            keys,
            backwards: self.scan_index_forward == Some(false),
            filter,
            shown,
            given,
            counts_only: self.select == Some(Select::Count),
            limit: self.limit.unwrap_or(usize::MAX),
            segment,
            table,
        })
    }
}

impl Plan<'_, '_> {
    fn answer(mut self, inner: &Inner, start: Option<&Item<'_>>) -> Result<Bytes, Refusal> {
        if let Some(start) = start {
            let start = self.row_of_start(start)?;
            if !self.keys.contains(&start) {
                return Err(Refusal::invalid(
                    "The provided starting key is outside query boundaries based on provided conditions",
                ));
            }
            if self.backwards {
                self.keys.end = start;
            } else {
                self.keys.start = start;
                // The least key after it.
                self.keys.start.push(0);
            }
        }
        let mut page = Page::default();
        inner.commits.storage().view(&mut |view| {
            page = Page::default();
            self.fill(&mut page, view)
        })?;
        if let Some(problem) = page.problem {
            return Err(problem);
        }
        let mut answer = Vec::with_capacity(page.items.len() + 256);
        answer.push(b'{');
        if !self.counts_only {
            answer.extend(b"\"Items\":[");
            answer.extend(&page.items);
            answer.extend(b"],");
        }
        answer.extend(format!("\"Count\":{},\"ScannedCount\":{}", page.count, page.scanned).into_bytes());
        if let Some(last) = page.last {
            answer.extend(b",\"LastEvaluatedKey\":");
            self.key_of(&Item::stored(&last)?).write(&mut answer);
        }
        answer.push(b'}');
        Ok(answer.into())
    }

    fn fill(&self, page: &mut Page, view: &dyn View) -> Result<(), Failed> {
        for row in view.range(self.keys.clone(), self.backwards) {
            let (row, value) = row?;
            let value = match index_of(&self.table, self.index) {
                None => value,
                Some(index) => {
                    let Some(item) = self.table.item_of(index, &row) else { continue };
                    let Some(value) = view.get(&item)? else { continue };
                    value
                }
            };
            match self.add(page, &value) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(refusal) => {
                    page.problem = Some(refusal);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Adds an item to the page, if it is one that is wanted, and says whether there is room for another one.
    fn add(&self, page: &mut Page, value: &Slice) -> Result<bool, Refusal> {
        if let Some((segment, total)) = self.segment
            && self.segment_of(&Item::stored(value)?, total) != segment
        {
            return Ok(true);
        }
        page.scanned += 1;
        page.bytes += value.len();
        let is_wanted = match &self.filter {
            None => true,
            Some(filter) => filter.expression.condition().holds(&Item::stored(value)?, self.given)?,
        };
        if is_wanted {
            page.count += 1;
            if !self.counts_only {
                if page.count > 1 {
                    page.items.push(b',');
                }
                self.show(value, &mut page.items)?;
            }
        }
        if page.scanned < self.limit && page.bytes < PAGE_BYTES {
            return Ok(true);
        }
        page.last = Some(value.clone());
        Ok(false)
    }

    fn show(&self, value: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        let Some(names) = index_of(&self.table, self.index).and_then(|index| index.shows.as_ref()) else {
            return self.shown.write(value, out);
        };
        let mut item = Item::stored(value)?;
        item.0.retain(|(name, _)| names.iter().any(|own| own == name));
        self.shown.write(&item.bytes(), out)
    }

    /// The key to go on from.
    fn key_of<'v>(&self, item: &Item<'v>) -> Item<'v> {
        let own = self.table.schema.names();
        let names: Vec<&str> = own.chain(schema_of(&self.table, self.index).names()).collect();
        let key = item.0.iter().filter(|(name, _)| names.contains(&&**name));
        Item(key.cloned().collect())
    }

    /// The row that a page ended with.
    fn row_of_start(&self, start: &Item<'_>) -> Result<Vec<u8>, Refusal> {
        let wrong = || Refusal::invalid("The provided starting key is invalid");
        if self.key_of(start) != *start {
            return Err(wrong());
        }
        let (mut row, slot) = (Vec::new(), slot_of(&self.table, self.index));
        let of_index =
            index_of(&self.table, self.index).into_iter().flat_map(|index| index.schema.attributes());
        for attribute in of_index.chain(self.table.schema.attributes()) {
            let value = start.get(&attribute.name).ok_or_else(wrong)?;
            push_key(slot, attribute, value, &mut row).map_err(|_| wrong())?;
        }
        Ok(row)
    }

    fn segment_of(&self, item: &Item<'_>, total: u64) -> u64 {
        let mut partition = Vec::new();
        if let Some(value) = item.get(&schema_of(&self.table, self.index).hash.name) {
            key::push(value, &mut partition);
        }
        xxh3_64(&partition) % total
    }
}
