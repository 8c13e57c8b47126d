//! Random requests, most of which make sense, over so few keys that they meet.

mod expressions;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Map, Value, json};

/// Tables with every kind of key.
pub(super) fn tables() -> Vec<Value> {
    let table = |name: &str, key: &[(&str, &str)], indexes: &[(&str, &str)]| {
        let schema = |attributes: &[(&str, &str)]| -> Vec<Value> {
            let types = ["HASH", "RANGE"];
            let element =
                |((name, _), kind): (&(&str, &str), &str)| json!({"AttributeName": name, "KeyType": kind});
            attributes.iter().zip(types).map(element).collect()
        };
        let mut attributes: Vec<(&str, &str)> = key.iter().chain(indexes).copied().collect();
        attributes.sort();
        attributes.dedup();
        let definitions: Vec<Value> = attributes
            .iter()
            .map(|(name, kind)| json!({"AttributeName": name, "AttributeType": kind}))
            .collect();
        let mut table = json!({
            "TableName": name, "BillingMode": "PAY_PER_REQUEST", "KeySchema": schema(key),
            "AttributeDefinitions": definitions
        });
        let indexes: Vec<Value> = indexes
            .iter()
            .map(|index| {
                let key = [*index, *key.last().unwrap()];
                json!({
                    "IndexName": format!("by_{}", index.0), "KeySchema": schema(&key),
                    "Projection": {"ProjectionType": "ALL"}
                })
            })
            .collect();
        if !indexes.is_empty() {
            table["GlobalSecondaryIndexes"] = json!(indexes);
        }
        table
    };
    vec![
        table("texts", &[("PK", "S"), ("SK", "S")], &[("s", "S"), ("n", "N")]),
        table("numbers", &[("PK", "S"), ("SK", "N")], &[]),
        table("bytes", &[("PK", "B"), ("SK", "B")], &[]),
        table("singles", &[("PK", "N")], &[]),
    ]
}

/// The types of the key of each table.
const KEYS: [(&str, &[(&str, &str)]); 4] = [
    ("texts", &[("PK", "S"), ("SK", "S")]),
    ("numbers", &[("PK", "S"), ("SK", "N")]),
    ("bytes", &[("PK", "B"), ("SK", "B")]),
    ("singles", &[("PK", "N")]),
];
const TEXTS: [&str; 10] = ["a", "b", "ab", "a\u{0}", "a\u{0}b", "a\u{1}", "ä", "9", "\"q\\", "zzz"];
const NUMBERS: [&str; 13] = [
    "0",
    "1",
    "-1",
    "2",
    "10",
    "-10",
    "1.5",
    "-1.05",
    "100",
    "0.001",
    "99999999999999999999",
    "1e10",
    "-1e-5",
];
/// Those that are written in their one form: `dynoxide` does not see that two others in a set are equal.
const PLAIN: usize = 11;
const BYTES: [&str; 6] = ["AA==", "AAE=", "AP8=", "YQ==", "/w==", "YWI="];
const ATTRIBUTES: [&str; 8] = ["s", "n", "b", "l", "m", "ss", "ns", "x"];

/// Makes requests.
pub(super) struct Maker {
    chance: SmallRng,
    /// The placeholders of the request that is being made.
    names: Map<String, Value>,
    values: Map<String, Value>,
    tokens: Vec<Value>,
}

impl Maker {
    pub(super) fn new(chance: SmallRng) -> Self {
        Self { chance, names: Map::new(), values: Map::new(), tokens: Vec::new() }
    }

    /// A call, and its request.
    pub(super) fn call(&mut self) -> (&'static str, Value) {
        match self.below(100) {
            0..25 => ("PutItem", self.put(true)),
            25..50 => ("UpdateItem", self.update(true)),
            50..57 => ("DeleteItem", self.delete(true)),
            57..65 => ("GetItem", self.get()),
            65..69 => ("BatchGetItem", self.batch()),
            69..84 => ("TransactWriteItems", self.transaction()),
            84..95 => ("Query", self.query()),
            _ => ("Scan", self.scan()),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.chance.random_range(0..bound)
    }

    fn is(&mut self, percent: u32) -> bool {
        self.chance.random_ratio(percent, 100)
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        *all.choose(&mut self.chance).unwrap()
    }

    fn scalar(&mut self, kind: &str) -> Value {
        match kind {
            "S" => json!({"S": self.of(&TEXTS)}),
            "N" => json!({"N": self.of(&NUMBERS)}),
            _ => json!({"B": self.of(&BYTES)}),
        }
    }

    fn set<'t>(&mut self, all: &[&'t str]) -> Vec<&'t str> {
        let count = 1 + self.below(3);
        all.sample(&mut self.chance, count).copied().collect()
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 8 } else { 10 }) {
            0 | 1 => self.scalar("S"),
            2 | 3 => self.scalar("N"),
            4 => self.scalar("B"),
            5 => json!({"BOOL": self.is(50)}),
            6 => match self.below(3) {
                0 => json!({"SS": self.set(&TEXTS)}),
                1 => json!({"NS": self.set(&NUMBERS[..PLAIN])}),
                _ => json!({"BS": self.set(&BYTES)}),
            },
            7 => json!({"NULL": true}),
            8 => {
                let members: Vec<Value> = (0..self.below(4)).map(|_| self.value(depth - 1)).collect();
                json!({"L": members})
            }
            _ => {
                let mut map = Map::new();
                for _ in 0..self.below(3) {
                    map.insert(self.of(&["a", "b", "c"]).to_owned(), self.value(depth - 1));
                }
                json!({"M": map})
            }
        }
    }

    /// A value that fits the attribute, most of the time.
    fn fitting(&mut self, attribute: &str) -> Value {
        if self.is(8) && !matches!(attribute, "s" | "n") {
            return self.value(2);
        }
        match attribute {
            "s" => self.scalar("S"),
            "n" => self.scalar("N"),
            "b" => self.scalar("B"),
            "l" => json!({"L": (0..self.below(4)).map(|_| self.value(1)).collect::<Vec<_>>()}),
            "m" => json!({"M": {"a": self.value(1), "b": {"M": {"c": self.value(0)}}}}),
            "ss" => json!({"SS": self.set(&TEXTS)}),
            "ns" => json!({"NS": self.set(&NUMBERS[..PLAIN])}),
            _ => self.value(2),
        }
    }

    fn table(&mut self) -> (&'static str, &'static [(&'static str, &'static str)]) {
        if self.is(60) { KEYS[0] } else { self.of(&KEYS) }
    }

    fn key(&mut self, schema: &[(&str, &str)]) -> Map<String, Value> {
        let mut key = Map::new();
        for (name, kind) in schema {
            // Few partitions, more sort keys.
            let value = if *name == "PK" && *kind == "S" {
                json!({"S": self.of(&TEXTS[..3])})
            } else {
                self.scalar(kind)
            };
            key.insert((*name).to_owned(), value);
        }
        if self.is(1) {
            key.insert("PK".to_owned(), json!({"S": ""}));
        }
        if self.is(1) {
            key.remove("SK");
        }
        key
    }

    fn put(&mut self, is_single: bool) -> Value {
        self.begin();
        let (table, schema) = self.table();
        let mut item = self.key(schema);
        for _ in 0..self.below(6) {
            let attribute = self.of(&ATTRIBUTES);
            item.insert(attribute.to_owned(), self.fitting(attribute));
        }
        if self.is(1) {
            item.insert("n".to_owned(), self.value(1));
        }
        let mut body = json!({"TableName": table, "Item": item});
        self.conditioned(&mut body, is_single, &["NONE", "ALL_OLD"]);
        body
    }

    fn delete(&mut self, is_single: bool) -> Value {
        self.begin();
        let (table, schema) = self.table();
        let mut body = json!({"TableName": table, "Key": self.key(schema)});
        self.conditioned(&mut body, is_single, &["NONE", "ALL_OLD"]);
        body
    }

    fn update(&mut self, is_single: bool) -> Value {
        self.begin();
        let (table, schema) = self.table();
        let mut body = json!({"TableName": table, "Key": self.key(schema)});
        body["UpdateExpression"] = json!(self.update_text());
        self.conditioned(&mut body, is_single, &["NONE", "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"]);
        body
    }

    fn check(&mut self) -> Value {
        self.begin();
        let (table, schema) = self.table();
        let mut body =
            json!({"TableName": table, "Key": self.key(schema), "ConditionExpression": self.condition(2)});
        self.finish(&mut body);
        body
    }

    fn conditioned(&mut self, body: &mut Value, is_single: bool, returns: &[&str]) {
        if self.is(if is_single { 45 } else { 20 }) {
            body["ConditionExpression"] = json!(self.condition(2));
            if self.is(50) {
                body["ReturnValuesOnConditionCheckFailure"] = json!("ALL_OLD");
            }
        }
        if is_single && self.is(60) {
            body["ReturnValues"] = json!(self.of(returns));
        }
        self.finish(body);
    }

    fn transaction(&mut self) -> Value {
        if self.is(10)
            && let Some(repeated) = self.tokens.choose(&mut self.chance)
        {
            return repeated.clone();
        }
        let actions: Vec<Value> = (0..1 + self.below(5))
            .map(|_| match self.below(8) {
                0..3 => json!({"Put": self.put(false)}),
                3..5 => json!({"Update": self.update(false)}),
                5..7 => json!({"Delete": self.delete(false)}),
                _ => json!({"ConditionCheck": self.check()}),
            })
            .collect();
        let mut body = json!({"TransactItems": actions});
        if self.is(50) {
            body["ClientRequestToken"] = json!(format!("token-{}", self.below(40)));
            self.tokens.push(body.clone());
        }
        body
    }

    fn get(&mut self) -> Value {
        self.begin();
        let (table, schema) = self.table();
        let mut body = json!({"TableName": table, "Key": self.key(schema), "ConsistentRead": self.is(50)});
        if self.is(50) {
            body["ProjectionExpression"] = json!(self.projection());
        }
        self.finish(&mut body);
        body
    }

    fn batch(&mut self) -> Value {
        let mut tables = Map::new();
        for _ in 0..1 + self.below(2) {
            let (table, schema) = self.table();
            let keys: Vec<Value> = (0..1 + self.below(3)).map(|_| json!(self.key(schema))).collect();
            tables.insert(table.to_owned(), json!({"Keys": keys}));
        }
        json!({"RequestItems": tables})
    }

    fn query(&mut self) -> Value {
        self.begin();
        let (table, schema) = self.table();
        let mut body = json!({"TableName": table});
        let (mut hash, mut range) = (schema[0], schema.get(1).copied());
        if table == "texts" && self.is(40) {
            hash = self.of(&[("s", "S"), ("n", "N")]);
            range = Some(("SK", "S"));
            body["IndexName"] = json!(format!("by_{}", hash.0));
        }
        let of_hash = if hash.0 == "PK" && hash.1 == "S" {
            json!({"S": self.of(&TEXTS[..3])})
        } else {
            self.scalar(hash.1)
        };
        let of_hash = self.named_value(of_hash);
        let mut condition = format!("{} = {of_hash}", self.name(hash.0));
        if let Some((name, kind)) = range
            && self.is(70)
        {
            let (name, value) = (self.name(name), self.scalar(kind));
            let value = self.named_value(value);
            condition += &match self.below(7) {
                0 => format!(" AND {name} = {value}"),
                1 => format!(" AND {name} < {value}"),
                2 => format!(" AND {name} <= {value}"),
                3 => format!(" AND {name} > {value}"),
                4 => format!(" AND {name} >= {value}"),
                5 => {
                    let other = self.scalar(kind);
                    format!(" AND {name} BETWEEN {value} AND {}", self.named_value(other))
                }
                _ => format!(" AND begins_with({name}, {value})"),
            };
        }
        body["KeyConditionExpression"] = json!(condition);
        if self.is(40) {
            body["ScanIndexForward"] = json!(self.is(30));
        }
        self.listed(&mut body);
        if range.is_none() {
            // `dynoxide` gives the one item of such a partition again and again.
            drop(body.as_object_mut().and_then(|body| body.remove("Limit")));
        }
        body
    }

    fn scan(&mut self) -> Value {
        self.begin();
        let mut body = json!({"TableName": self.table().0});
        self.listed(&mut body);
        body
    }

    fn listed(&mut self, body: &mut Value) {
        if self.is(40) {
            body["Limit"] = json!(1 + self.below(5));
        }
        if self.is(30) {
            body["FilterExpression"] = json!(self.condition(1));
        }
        if self.is(30) {
            body["ProjectionExpression"] = json!(self.projection());
        }
        self.finish(body);
    }

    fn begin(&mut self) {
        self.names.clear();
        self.values.clear();
    }

    fn finish(&mut self, body: &mut Value) {
        if !self.names.is_empty() {
            body["ExpressionAttributeNames"] = json!(std::mem::take(&mut self.names));
        }
        if !self.values.is_empty() {
            body["ExpressionAttributeValues"] = json!(std::mem::take(&mut self.values));
        }
    }

    fn name(&mut self, name: &str) -> String {
        if self.is(50) {
            return name.to_owned();
        }
        let placeholder = format!("#{name}");
        self.names.insert(placeholder.clone(), json!(name));
        placeholder
    }

    fn named_value(&mut self, value: Value) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }
}
