//! The stores that `KOKORO_TEST_DYNAMODB_ENDPOINT` and `KOKORO_TEST_S3_ENDPOINT` name. A test that asks for an embedded
//! store in memory gets these in its place, with tables and buckets of its own. A test that names a store or a folder
//! by itself keeps it.

use persistence::{BucketNames, Dynamo, Endpoint, S3};
use web::config::{Config, Place};

use crate::fresh_names;

/// The external stores of one test.
#[derive(Default)]
pub struct ExternalStores {
    has_tables: bool,
    files: Option<(String, BucketNames)>,
}

impl ExternalStores {
    /// Lays the external stores over the settings of a test, if the environment names any.
    pub fn lay_over(config: &mut Config) -> Self {
        let mut stores = Self::default();
        if config.store.place == Place::Memory
            && let Ok(endpoint) = std::env::var("KOKORO_TEST_DYNAMODB_ENDPOINT")
        {
            config.store.place = Place::Named(Endpoint::At(endpoint));
            config.store.tables = fresh_names::tables();
            stores.has_tables = true;
        }
        if config.files.place == Place::Memory
            && let Ok(endpoint) = std::env::var("KOKORO_TEST_S3_ENDPOINT")
        {
            config.files.place = Place::Named(Endpoint::At(endpoint.clone()));
            config.files.buckets = fresh_names::buckets();
            stores.files = Some((endpoint, config.files.buckets.clone()));
        }
        stores
    }

    /// Deletes the tables and buckets, because other tests use the same stores.
    pub async fn remove_all(self, dynamo: &Dynamo) {
        if self.has_tables {
            for definition in persistence::tables::definitions(dynamo.tables()) {
                dynamo.client().delete_table().table_name(definition.name).send().await.unwrap();
            }
        }
        let Some((endpoint, buckets)) = self.files else { return };
        let s3 = S3::connect(Endpoint::At(endpoint), None, buckets).await.unwrap();
        for bucket in [&s3.buckets().medilocker, &s3.buckets().documents] {
            let listed = s3.client().list_objects_v2().bucket(bucket).send().await.unwrap();
            for key in listed.contents().iter().filter_map(|object| object.key()) {
                s3.client().delete_object().bucket(bucket).key(key).send().await.unwrap();
            }
            s3.client().delete_bucket().bucket(bucket).send().await.unwrap();
        }
    }
}
