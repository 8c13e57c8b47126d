//! Tables: made when missing, left alone when present.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription,
    TimeToLiveStatus,
};
use persistence::{Dynamo, TablesError};

use crate::harness::{connect, connect_as, drop_tables, each_endpoint, put, s};
use crate::proxy::LossyProxy;

async fn describe(dynamo: &Dynamo, table: &str) -> TableDescription {
    dynamo.client().describe_table().table_name(table).send().await.unwrap().table.unwrap()
}

fn key(elements: &[KeySchemaElement]) -> Vec<String> {
    elements.iter().map(|element| format!("{} {}", element.key_type(), element.attribute_name())).collect()
}

async fn create(dynamo: &Dynamo, table: &str, hash: &str) {
    let schema = KeySchemaElement::builder().attribute_name(hash).key_type(KeyType::Hash).build().unwrap();
    let kind = ScalarAttributeType::S;
    let attribute = AttributeDefinition::builder().attribute_name(hash).attribute_type(kind).build().unwrap();
    let request = dynamo.client().create_table().table_name(table).key_schema(schema);
    let request = request.attribute_definitions(attribute).billing_mode(BillingMode::PayPerRequest);
    request.send().await.unwrap();
}

#[tokio::test]
async fn missing_tables_are_made_as_the_contract_lists_them() {
    each_endpoint(async |endpoint| {
        let dynamo = connect(endpoint).await;
        dynamo.create_missing_tables().await.unwrap();
        let names = dynamo.tables();
        for (table, expected) in [
            (&names.users, vec!["HASH email"]),
            (&names.doctors, vec!["HASH email"]),
            (&names.availability, vec!["HASH PK", "RANGE SK"]),
            (&names.bookings, vec!["HASH PK", "RANGE SK"]),
            (&names.chat_history, vec!["HASH email", "RANGE timestamp"]),
            (&names.payments, vec!["HASH payment_id"]),
            (&names.engine, vec!["HASH PK"]),
        ] {
            let table = describe(&dynamo, table).await;
            assert_eq!(key(table.key_schema()), expected);
            let billing = table.billing_mode_summary().and_then(|summary| summary.billing_mode());
            assert_eq!(billing, Some(&BillingMode::PayPerRequest));
        }
        let bookings = describe(&dynamo, &names.bookings).await;
        let indexes: Vec<_> = bookings
            .global_secondary_indexes()
            .iter()
            .map(|index| (index.index_name().unwrap(), key(index.key_schema())))
            .collect();
        assert_eq!(indexes, [("GSI_UserBookings", vec!["HASH user_id".to_owned(), "RANGE SK".to_owned()])]);
        let request = dynamo.client().describe_time_to_live().table_name(&names.bookings);
        let ttl = request.send().await.unwrap().time_to_live_description.unwrap();
        assert_eq!(ttl.attribute_name(), Some("ttl"));
        assert!(matches!(
            ttl.time_to_live_status(),
            Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
        ));
        let chat = describe(&dynamo, &names.chat_history).await;
        let number = |attribute: &AttributeDefinition| {
            attribute.attribute_name() == "timestamp" && *attribute.attribute_type() == ScalarAttributeType::N
        };
        assert!(chat.attribute_definitions().iter().any(number));
        drop_tables(&dynamo).await;
    })
    .await;
}

#[tokio::test]
async fn tables_that_are_there_are_left_alone_with_their_rows() {
    each_endpoint(async |endpoint| {
        let dynamo = connect(endpoint).await;
        create(&dynamo, &dynamo.tables().users, "email").await;
        put(&dynamo, &dynamo.tables().users, [("email", s("ada@x.com")), ("username", s("Ada"))]).await;
        let before = describe(&dynamo, &dynamo.tables().users).await;
        dynamo.create_missing_tables().await.unwrap();
        dynamo.create_missing_tables().await.unwrap();
        let after = describe(&dynamo, &dynamo.tables().users).await;
        assert_eq!(before.creation_date_time(), after.creation_date_time());
        let found = dynamo.accounts().find(persistence::AccountKind::User, "ada@x.com").await.unwrap();
        assert_eq!(found.unwrap().name, "Ada");
        drop_tables(&dynamo).await;
    })
    .await;
}

#[tokio::test]
async fn a_table_with_another_key_is_an_error_that_names_it() {
    each_endpoint(async |endpoint| {
        let dynamo = connect(endpoint).await;
        create(&dynamo, &dynamo.tables().payments, "id").await;
        match dynamo.create_missing_tables().await {
            Err(error @ TablesError::Differs { .. }) => {
                assert!(error.to_string().contains(&dynamo.tables().payments), "{error}");
            }
            other => panic!("{other:?}"),
        }
        drop_tables(&dynamo).await;
    })
    .await;
}

#[tokio::test]
async fn a_bookings_table_without_its_index_is_an_error() {
    each_endpoint(async |endpoint| {
        let dynamo = connect(endpoint).await;
        let availability = dynamo.tables().availability.clone();
        dynamo.create_missing_tables().await.unwrap();
        // The availability table has the same key, but not the index.
        let names = persistence::TableNames { bookings: availability, ..dynamo.tables().clone() };
        match connect_as(endpoint, names).await.create_missing_tables().await {
            Err(error @ TablesError::Differs { .. }) => {
                assert!(error.to_string().contains("GSI_UserBookings"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        drop_tables(&dynamo).await;
    })
    .await;
}

async fn has_time_to_live(dynamo: &Dynamo) -> bool {
    let request = dynamo.client().describe_time_to_live().table_name(&dynamo.tables().bookings);
    let status = request.send().await.unwrap().time_to_live_description.unwrap().time_to_live_status;
    matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling))
}

#[tokio::test]
async fn a_table_that_was_made_by_an_attempt_whose_answer_was_lost_has_its_time_to_live() {
    each_endpoint(async |endpoint| {
        let proxy = LossyProxy::start(endpoint).await;
        let dynamo = connect(&proxy.endpoint()).await;
        proxy.lose_answers_to("GSI_UserBookings", 1);
        dynamo.create_missing_tables().await.unwrap();
        assert_eq!(proxy.lost(), 1);
        assert!(has_time_to_live(&dynamo).await);
        drop_tables(&dynamo).await;
    })
    .await;
}

#[tokio::test]
async fn several_nodes_may_make_the_tables_at_once() {
    each_endpoint(async |endpoint| {
        let dynamo = connect(endpoint).await;
        let nodes = (0..4).map(|_| dynamo.create_missing_tables());
        for outcome in futures::future::join_all(nodes).await {
            outcome.unwrap();
        }
        assert!(has_time_to_live(&dynamo).await);
        drop_tables(&dynamo).await;
    })
    .await;
}
