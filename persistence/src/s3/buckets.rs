//! The buckets, and their creation where they are missing. A bucket that is present is left as it is: it may be the old
//! platform's, with files in it.

use aws_sdk_s3::operation::create_bucket::CreateBucketError;
use aws_sdk_s3::operation::head_bucket::HeadBucketError;
use aws_sdk_s3::types::{
    BucketLocationConstraint, CreateBucketConfiguration, PublicAccessBlockConfiguration,
};

use super::S3;
use super::error::failure_text;

/// The region that `CreateBucket` does not want to be told (API reference).
const UNNAMED_REGION: &str = "us-east-1";

/// What the buckets are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketNames {
    /// Patients' files.
    pub medilocker: String,
    /// Doctors' documents.
    pub documents: String,
}

impl Default for BucketNames {
    fn default() -> Self {
        Self { medilocker: "kokoro-medilocker".to_owned(), documents: "kokoro-doctor-documents".to_owned() }
    }
}

/// Why the buckets are not as they must be.
#[derive(Debug, thiserror::Error)]
#[error("bucket {bucket}: {problem}")]
pub struct BucketsError {
    /// Which bucket.
    pub bucket: String,
    /// What S3 says.
    pub problem: String,
}

impl S3 {
    /// Creates the buckets that are missing, closed to the public.
    pub async fn create_missing_buckets(&self) -> Result<(), BucketsError> {
        for bucket in [&self.buckets.medilocker, &self.buckets.documents] {
            let created = self.create_if_missing(bucket).await;
            created.map_err(|problem| BucketsError { bucket: bucket.clone(), problem })?;
        }
        Ok(())
    }

    async fn create_if_missing(&self, bucket: &str) -> Result<(), String> {
        match Box::pin(self.client.head_bucket().bucket(bucket).send()).await {
            Ok(_) => return Ok(()),
            Err(error) if error.as_service_error().is_some_and(HeadBucketError::is_not_found) => {}
            Err(error) => return Err(failure_text(&error)),
        }
        let request = self.client.create_bucket().bucket(bucket);
        match Box::pin(request.set_create_bucket_configuration(self.location()).send()).await {
            Ok(_) => tracing::info!(bucket, "bucket created"),
            // Another process was faster.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(CreateBucketError::is_bucket_already_owned_by_you) =>
            {
                return Ok(());
            }
            Err(error) => return Err(failure_text(&error)),
        }
        if self.is_aws { self.close_to_the_public(bucket).await } else { Ok(()) }
    }

    /// What AWS must be told of where a new bucket shall be.
    fn location(&self) -> Option<CreateBucketConfiguration> {
        let region = self.client.config().region().map(ToString::to_string);
        let region = region.filter(|region| self.is_aws && region != UNNAMED_REGION)?;
        let constraint = BucketLocationConstraint::from(region.as_str());
        Some(CreateBucketConfiguration::builder().location_constraint(constraint).build())
    }

    async fn close_to_the_public(&self, bucket: &str) -> Result<(), String> {
        let closed = PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .ignore_public_acls(true)
            .block_public_policy(true)
            .restrict_public_buckets(true)
            .build();
        let request = self.client.put_public_access_block().bucket(bucket);
        match Box::pin(request.public_access_block_configuration(closed).send()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(failure_text(&error)),
        }
    }
}
