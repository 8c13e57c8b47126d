//! Patients' files and doctors' documents, by their keys.

use engine::{DoctorId, UserId};

use super::{Finding, Session};
use crate::dynamo::AccountKind;
use crate::s3::{BucketNames, DocumentKind, FileName, failure_text, url_prefix};
use crate::scan::{Keys, ScanError};
use aws_sdk_s3::operation::head_bucket::HeadBucketError;

impl Session<'_> {
    pub(super) async fn files(&mut self) -> Result<(), ScanError> {
        let BucketNames { medilocker, documents } = self.given.s3.buckets().clone();
        if self.has_bucket(&medilocker).await? {
            self.patients_files(&medilocker).await?;
        }
        if self.has_bucket(&documents).await? {
            self.documents(&documents).await?;
        }
        Ok(())
    }

    async fn has_bucket(&mut self, bucket: &str) -> Result<bool, ScanError> {
        match Box::pin(self.given.s3.client().head_bucket().bucket(bucket).send()).await {
            Ok(_) => {
                self.look.begin(bucket, None);
                self.report.parts.push((bucket.to_owned(), 0));
                Ok(true)
            }
            Err(error) if error.as_service_error().is_some_and(HeadBucketError::is_not_found) => {
                self.note(Finding::BucketMissing, bucket, &bucket);
                Ok(false)
            }
            Err(error) => Err(ScanError::new(bucket, failure_text(&error))),
        }
    }

    async fn patients_files(&mut self, bucket: &str) -> Result<(), ScanError> {
        let mut pages = Keys::of(self.given.s3, bucket, &self.given.pace);
        while let Some(page) = pages.next().await? {
            self.read(page.len());
            let owner = |key: &str| {
                Some(key.split_once('/')?.0).filter(|owner| UserId::parse(owner).is_ok()).map(str::len)
            };
            let owners = page.iter().filter_map(|key| Some(&key[..owner(key)?]));
            self.known.ask(AccountKind::User, owners).await?;
            for key in &page {
                match owner(key).map(|end| (&key[..end], &key[end + 1..])) {
                    None => self.note(Finding::FileWithoutOwner, bucket, key),
                    Some((owner, name)) => {
                        if !self.known.is_known(AccountKind::User, owner) {
                            self.note(Finding::FileOfNobody, bucket, key);
                        }
                        if FileName::parse(name).is_err() {
                            self.note(Finding::FileNameOdd, bucket, key);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn documents(&mut self, bucket: &str) -> Result<(), ScanError> {
        let prefix = url_prefix(bucket);
        let profiles = self.dynamo.profiles();
        let doctors = &self.given.dynamo.tables().doctors;
        let has_doctors = !self.known.is_missing(doctors);
        let mut pages = Keys::of(self.given.s3, bucket, &self.given.pace);
        // Keys come in their order, so a doctor's come together.
        let mut last = None;
        while let Some(page) = pages.next().await? {
            self.read(page.len());
            for key in &page {
                let Some((doctor, kind)) = doctor_and_kind(key) else {
                    self.note(Finding::DocumentKeyOdd, bucket, key);
                    continue;
                };
                if last.as_ref().is_none_or(|(name, _)| name != doctor) {
                    self.given.pace.take(1).await;
                    let rows = if has_doctors { profiles.documents(doctor).await } else { Ok(None) };
                    let rows = rows.map_err(|error| ScanError::new(doctors, error.to_string()))?;
                    last = Some((doctor.to_owned(), rows));
                }
                let named = last.as_ref().and_then(|(_, rows)| rows.as_ref());
                match named.map(|rows| rows.get(&kind)) {
                    None => self.note(Finding::DocumentOfNobody, bucket, key),
                    Some(url) if url.and_then(|url| url.strip_prefix(&prefix)) != Some(key) => {
                        self.note(Finding::DocumentUnnamed, bucket, key);
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }
}

/// Whose document it is, and which, from `doctors/{email}/{kind}/{name}`.
fn doctor_and_kind(key: &str) -> Option<(&str, DocumentKind)> {
    let mut parts = key.splitn(4, '/');
    let (folder, doctor, kind, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let kind = DocumentKind::ALL.into_iter().find(|known| known.name() == kind)?;
    (folder == "doctors" && DoctorId::parse(doctor).is_ok() && !name.is_empty()).then_some((doctor, kind))
}
