//! The definitions of every table, as data, and their creation where they are missing. A table that is
//! present is left as it is: it may be the old platform's, with rows in it.

use std::time::Duration;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, IndexStatus, KeySchemaElement, KeyType,
    Projection, ProjectionType, ScalarAttributeType, TableDescription, TableStatus, TimeToLiveSpecification,
    TimeToLiveStatus,
};
use futures::future::try_join_all;

use crate::dynamo::{Dynamo, keys, request_failure};

/// How often a table is looked at while it is being created.
const CREATION_LOOKS_MAX: u32 = 120;
/// The pause between two looks.
const CREATION_LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What the tables are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableNames {
    /// Patients' accounts.
    pub users: String,
    /// Doctors' accounts and profiles.
    pub doctors: String,
    /// What doctors offer, by weekday.
    pub availability: String,
    /// Bookings.
    pub bookings: String,
    /// Exchanges with the assistant.
    pub chat_history: String,
    /// Payments as Razorpay reports them.
    pub payments: String,
    /// The engine's own: fence items.
    pub engine: String,
    /// The nodes of a cluster and their heartbeats.
    pub nodes: String,
    /// Who read, changed or deleted whose records.
    pub audit: String,
}

impl Default for TableNames {
    fn default() -> Self {
        Self {
            users: "Users".to_owned(),
            doctors: "Doctors".to_owned(),
            availability: "DoctorAvailabilityTable".to_owned(),
            bookings: "DoctorBookingsTable".to_owned(),
            chat_history: "ChatHistory".to_owned(),
            payments: "PaymentsTable".to_owned(),
            engine: "KokoroEngine".to_owned(),
            nodes: "KokoroNodes".to_owned(),
            audit: "KokoroAudit".to_owned(),
        }
    }
}

/// One table as it is made; billed on demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDefinition {
    /// What it is called.
    pub name: String,
    /// Its key.
    pub key: KeyDefinition,
    /// Its global secondary indexes, each of which holds whole items.
    pub indexes: Vec<IndexDefinition>,
    /// The attribute that says when an item may be deleted, in seconds since 1970.
    pub time_to_live: Option<&'static str>,
}

/// One global secondary index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexDefinition {
    /// What it is called.
    pub name: &'static str,
    /// Its key.
    pub key: KeyDefinition,
}

/// The key of a table or index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDefinition {
    /// The partition key.
    pub hash: KeyAttribute,
    /// The sort key.
    pub range: Option<KeyAttribute>,
}

/// One attribute of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAttribute {
    /// A string, under this name.
    Text(&'static str),
    /// A number, under this name.
    Number(&'static str),
}

/// Why the tables are not as they must be.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The store refuses or does not answer.
    #[error("table {table}: {problem}")]
    Store {
        /// Which table.
        table: String,
        /// What the store says.
        problem: String,
    },
    /// The table exists with another key.
    #[error("table {table} exists, but {problem}; it is left as it is")]
    Differs {
        /// Which table.
        table: String,
        /// What differs.
        problem: String,
    },
    /// The table was not ready in time.
    #[error("table {table} is still not active")]
    NotActive {
        /// Which table.
        table: String,
    },
}

impl KeyAttribute {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text(name) | Self::Number(name) => name,
        }
    }

    const fn scalar(self) -> ScalarAttributeType {
        match self {
            Self::Text(_) => ScalarAttributeType::S,
            Self::Number(_) => ScalarAttributeType::N,
        }
    }
}

impl KeyDefinition {
    const fn hash(hash: KeyAttribute) -> Self {
        Self { hash, range: None }
    }

    const fn ranged(hash: KeyAttribute, range: KeyAttribute) -> Self {
        Self { hash, range: Some(range) }
    }

    fn attributes(self) -> impl Iterator<Item = (KeyAttribute, KeyType)> {
        let range = self.range.map(|range| (range, KeyType::Range));
        std::iter::once((self.hash, KeyType::Hash)).chain(range)
    }

    fn schema(self) -> Result<Vec<KeySchemaElement>, BuildError> {
        self.attributes()
            .map(|(attribute, kind)| {
                KeySchemaElement::builder().attribute_name(attribute.name()).key_type(kind).build()
            })
            .collect()
    }

    /// Whether a stored key is this one. Only names and order can differ unnoticed; a type cannot, for then
    /// no request of ours would be well-formed.
    fn is(self, stored: &[KeySchemaElement]) -> bool {
        let stored = stored.iter().map(|element| (element.attribute_name(), element.key_type().clone()));
        stored.eq(self.attributes().map(|(attribute, kind)| (attribute.name(), kind)))
    }
}

/// Every table, as API.md lists them, the engine's own and the audit trail.
pub fn definitions(names: &TableNames) -> [TableDefinition; 9] {
    let table = |name: &String, key| TableDefinition {
        name: name.clone(),
        key,
        indexes: Vec::new(),
        time_to_live: None,
    };
    let email = KeyAttribute::Text(keys::EMAIL);
    let (pk, sk) = (KeyAttribute::Text(keys::PK), KeyAttribute::Text(keys::SK));
    [
        table(&names.users, KeyDefinition::hash(email)),
        table(&names.doctors, KeyDefinition::hash(email)),
        table(&names.availability, KeyDefinition::ranged(pk, sk)),
        TableDefinition {
            indexes: vec![IndexDefinition {
                name: keys::USER_BOOKINGS_INDEX,
                key: KeyDefinition::ranged(KeyAttribute::Text(keys::USER_ID), sk),
            }],
            time_to_live: Some(keys::TTL),
            ..table(&names.bookings, KeyDefinition::ranged(pk, sk))
        },
        table(&names.chat_history, KeyDefinition::ranged(email, KeyAttribute::Number(keys::TIMESTAMP))),
        table(&names.payments, KeyDefinition::hash(KeyAttribute::Text(keys::PAYMENT_ID))),
        table(&names.engine, KeyDefinition::hash(pk)),
        table(&names.nodes, KeyDefinition::hash(pk)),
        table(&names.audit, KeyDefinition::ranged(pk, sk)),
    ]
}

impl Dynamo {
    /// Makes every table that is missing and waits until all are active, for a minute at most. Tables that
    /// exist are left alone; it is an error when the key of one, or of an index that it needs, differs from
    /// what the engine expects. Safe to run on several nodes at once.
    pub async fn create_missing_tables(&self) -> Result<(), TablesError> {
        let definitions = definitions(self.tables());
        try_join_all(definitions.iter().map(|definition| self.create_if_missing(definition))).await?;
        Ok(())
    }

    async fn create_if_missing(&self, definition: &TableDefinition) -> Result<(), TablesError> {
        match self.describe(definition).await? {
            Some(table) => {
                self.verify(definition, &table)?;
                self.wait_until_active(definition).await?;
                self.report_missing_time_to_live(definition).await;
                Ok(())
            }
            None => {
                self.create(definition).await?;
                self.wait_until_active(definition).await?;
                self.enable_time_to_live(definition).await
            }
        }
    }

    async fn describe(&self, definition: &TableDefinition) -> Result<Option<TableDescription>, TablesError> {
        match self.client().describe_table().table_name(&definition.name).send().await {
            Ok(answer) => Ok(answer.table),
            Err(error) => {
                let missing =
                    error.as_service_error().is_some_and(DescribeTableError::is_resource_not_found_exception);
                if missing { Ok(None) } else { Err(definition.refused(request_failure(&error))) }
            }
        }
    }

    fn verify(&self, definition: &TableDefinition, table: &TableDescription) -> Result<(), TablesError> {
        if !definition.key.is(table.key_schema()) {
            return Err(definition.differs("its key is another".to_owned()));
        }
        for index in &definition.indexes {
            let stored = table.global_secondary_indexes();
            let found = stored.iter().find(|stored| stored.index_name() == Some(index.name));
            let Some(found) = found else {
                return Err(definition.differs(format!("it lacks the index {}", index.name)));
            };
            let projects_all =
                found.projection().and_then(Projection::projection_type) == Some(&ProjectionType::All);
            if !index.key.is(found.key_schema()) || !projects_all {
                return Err(definition.differs(format!("its index {} is another", index.name)));
            }
        }
        Ok(())
    }

    /// Creates it. That it has come to be meanwhile is as good: another node made it, or an attempt of ours whose answer
    /// was lost.
    async fn create(&self, definition: &TableDefinition) -> Result<(), TablesError> {
        let request = self.client().create_table().table_name(&definition.name);
        let built = definition.key.schema().and_then(|schema| {
            Ok((schema, definition.attribute_definitions()?, definition.index_requests()?))
        });
        let (schema, attributes, indexes) = built.map_err(|error| definition.refused(error.to_string()))?;
        let created = request
            .set_key_schema(Some(schema))
            .set_attribute_definitions(Some(attributes))
            .set_global_secondary_indexes((!indexes.is_empty()).then_some(indexes))
            .billing_mode(BillingMode::PayPerRequest)
            .send()
            .await;
        match created {
            Ok(_) => Ok(()),
            Err(error) => {
                let exists =
                    error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception);
                if exists { Ok(()) } else { Err(definition.refused(request_failure(&error))) }
            }
        }
    }

    async fn wait_until_active(&self, definition: &TableDefinition) -> Result<(), TablesError> {
        for _ in 0..CREATION_LOOKS_MAX {
            if let Some(table) = self.describe(definition).await?
                && is_active(&table)
            {
                return self.verify(definition, &table);
            }
            tokio::time::sleep(CREATION_LOOK_INTERVAL).await;
        }
        Err(TablesError::NotActive { table: definition.name.clone() })
    }

    /// Turns it on, unless another node has: the store refuses that to be done twice.
    async fn enable_time_to_live(&self, definition: &TableDefinition) -> Result<(), TablesError> {
        let Some(attribute) = definition.time_to_live else { return Ok(()) };
        if self.has_time_to_live(definition).await == Some(true) {
            return Ok(());
        }
        let specification = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name(attribute)
            .build()
            .map_err(|error| definition.refused(error.to_string()))?;
        let request = self.client().update_time_to_live().table_name(&definition.name);
        match request.time_to_live_specification(specification).send().await {
            Ok(_) => Ok(()),
            Err(_) if self.has_time_to_live(definition).await == Some(true) => Ok(()),
            Err(error) => Err(definition.refused(request_failure(&error))),
        }
    }

    /// Whether rows whose time is over are deleted; `None` when the store does not say.
    async fn has_time_to_live(&self, definition: &TableDefinition) -> Option<bool> {
        let answer = self.client().describe_time_to_live().table_name(&definition.name).send().await;
        match answer.ok()?.time_to_live_description?.time_to_live_status? {
            TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling => Some(true),
            TimeToLiveStatus::Disabled => Some(false),
            _ => None,
        }
    }

    /// Says so when rows of a table that we did not make will stay for ever. Not an error: it is its owner's
    /// choice.
    async fn report_missing_time_to_live(&self, definition: &TableDefinition) {
        if definition.time_to_live.is_none() {
            return;
        }
        if self.has_time_to_live(definition).await == Some(false) {
            tracing::warn!(
                table = definition.name,
                "the table's time to live is off, so old bookings stay in it"
            );
        }
    }
}

impl TableDefinition {
    fn attribute_definitions(&self) -> Result<Vec<AttributeDefinition>, BuildError> {
        let mut attributes: Vec<KeyAttribute> = Vec::new();
        for key in std::iter::once(self.key).chain(self.indexes.iter().map(|index| index.key)) {
            for (attribute, _) in key.attributes() {
                if !attributes.contains(&attribute) {
                    attributes.push(attribute);
                }
            }
        }
        let define = |attribute: KeyAttribute| {
            AttributeDefinition::builder()
                .attribute_name(attribute.name())
                .attribute_type(attribute.scalar())
                .build()
        };
        attributes.into_iter().map(define).collect()
    }

    fn index_requests(&self) -> Result<Vec<GlobalSecondaryIndex>, BuildError> {
        let request = |index: &IndexDefinition| {
            GlobalSecondaryIndex::builder()
                .index_name(index.name)
                .set_key_schema(Some(index.key.schema()?))
                .projection(Projection::builder().projection_type(ProjectionType::All).build())
                .build()
        };
        self.indexes.iter().map(request).collect()
    }

    fn refused(&self, problem: String) -> TablesError {
        TablesError::Store { table: self.name.clone(), problem }
    }

    fn differs(&self, problem: String) -> TablesError {
        TablesError::Differs { table: self.name.clone(), problem }
    }
}

fn is_active(table: &TableDescription) -> bool {
    let indexes = table.global_secondary_indexes();
    table.table_status() == Some(&TableStatus::Active)
        && indexes.iter().all(|index| index.index_status() == Some(&IndexStatus::Active))
}
