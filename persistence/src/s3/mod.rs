//! S3: patients' files and doctors' documents.

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
