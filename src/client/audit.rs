//! Decides how the hub's audit is read, and that the hub cannot show two
//! histories of it: the newest checkpoint that was seen is kept, and each that
//! follows must be proven to go on from it.

use crate::model::audit::checkpoint::read_origin;
use crate::model::audit::{Checkpoint, VerifierKey, tree};
use crate::wire::convert::audit;
use crate::wire::proto::v1;
use v1::audit_service_client::AuditServiceClient;

use super::calls::{Client, MAX_MESSAGE};
use super::error::Error;

/// The newest checkpoint of the hub's audit that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessed {
    /// The key that it was verified with.
    pub key: VerifierKey,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The signed note.
    pub note: String,
}

impl Client {
    /// The newest checkpoint of the hub's audit, verified, and proven to go on
    /// from the one that this client saw before. The first key that it sees it
    /// keeps, unless it was told one: see [`Client::expect_audit`].
    ///
    /// # Errors
    /// [`Error::History`]; see [`Error`].
    pub async fn checkpoint(&self) -> Result<Witnessed, Error> {
        let v1::GetCheckpointResponse { checkpoint, verifier_key } = self
            .call(v1::GetCheckpointRequest {}, |request| async { self.audit().get_checkpoint(request).await })
            .await?;
        self.witness(&checkpoint, Some(&verifier_key)).await
    }

    /// Goes on from a checkpoint that was seen before, perhaps by an earlier run
    /// or by somebody else.
    pub fn expect_audit(&self, seen: Witnessed) {
        *self.witnessed().lock() = Some(seen);
    }

    /// Takes a checkpoint that the hub showed, if it goes on from what was seen
    /// before.
    pub(super) async fn witness(&self, note: &str, key: Option<&str>) -> Result<Witnessed, Error> {
        let known = self.witnessed().lock().clone();
        let key = match (&known, key) {
            (Some(known), _) => {
                let said = Checkpoint::read_unverified(note).map_err(|problem| bad(&problem))?;
                // A restored hub signs with the same key under another name.
                known.key.renamed(&said.origin).ok_or_else(|| history("a checkpoint without a name"))?
            }
            (None, Some(key)) => VerifierKey::parse(key).map_err(|problem| bad(&problem))?,
            // Nothing to hold it against, so its key is asked for.
            (None, None) => return Box::pin(self.checkpoint()).await,
        };
        let checkpoint = Checkpoint::open(note, &key).map_err(|problem| bad(&problem))?;
        let seen = Witnessed { key, checkpoint, note: note.to_owned() };
        if let Some(known) = known {
            self.follows(&known, &seen).await?;
        }
        let mut newest = self.witnessed().lock();
        let older = newest.as_ref().is_some_and(|newest| {
            newest.checkpoint.origin == seen.checkpoint.origin
                && newest.checkpoint.size > seen.checkpoint.size
        });
        if !older {
            *newest = Some(seen.clone());
        }
        Ok(seen)
    }

    async fn follows(&self, known: &Witnessed, seen: &Witnessed) -> Result<(), Error> {
        let (old, new) = (&known.checkpoint, &seen.checkpoint);
        if old.origin != new.origin {
            return restored(old, new);
        }
        // They may come in another order than they were made in.
        let (old, new) = if old.size <= new.size { (old, new) } else { (new, old) };
        let path =
            if old.size == new.size { Vec::new() } else { self.consistency(old.size, new.size).await? };
        if tree::is_consistent((old.size, old.root), (new.size, new.root), &path) {
            return Ok(());
        }
        Err(history(&format!("{} records that were seen are not the first of {}", old.size, new.size)))
    }

    async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<tree::Hash>, Error> {
        let request = v1::GetConsistencyProofRequest { old_size, new_size };
        let proof =
            self.call(request, |request| async { self.audit().get_consistency_proof(request).await }).await?;
        audit::read_hashes(&proof.hashes).ok_or_else(|| history("a proof that is none"))
    }

    /// Proves that a record, by its number and canonical encoding, is in the
    /// audit that `seen` vouches for.
    ///
    /// # Errors
    /// [`Error::History`] if it is not; see [`Error`].
    pub async fn prove_record(&self, index: u64, encoded: &[u8], seen: &Witnessed) -> Result<(), Error> {
        let Checkpoint { size, root, .. } = seen.checkpoint;
        let request = v1::GetInclusionProofRequest { index, size };
        let proof =
            self.call(request, |request| async { self.audit().get_inclusion_proof(request).await }).await?;
        let path = audit::read_hashes(&proof.hashes).ok_or_else(|| history("a proof that is none"))?;
        if tree::root_of_inclusion(tree::leaf(encoded), index, size, &path) == Some(root) {
            return Ok(());
        }
        Err(history(&format!("record {index} is not in the log that the hub signed")))
    }

    /// A page of audit records.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn audit_records(
        &self,
        request: v1::ListAuditRecordsRequest,
    ) -> Result<v1::ListAuditRecordsResponse, Error> {
        self.call(request, |request| async { self.audit().list_audit_records(request).await }).await
    }

    /// The files of the whole audit, each handed to `take` as it comes: its path
    /// and what is in it; the checkpoint last.
    ///
    /// # Errors
    /// See [`Error`]; whatever `take` answers.
    pub async fn export_audit<E: From<Error>>(
        &self,
        mut take: impl FnMut(String, bytes::Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |status: tonic::Status| Error::from_status(&status, self.hub());
        let opening = self.audit().export_audit_log(v1::ExportAuditLogRequest {}).await;
        let mut files = opening.map_err(failed)?.into_inner();
        while let Some(v1::ExportAuditLogResponse { path, content }) =
            files.message().await.map_err(failed)?
        {
            take(path, content)?;
        }
        Ok(())
    }

    fn audit(&self) -> AuditServiceClient<tonic::transport::Channel> {
        AuditServiceClient::new(self.connection().channel()).max_decoding_message_size(MAX_MESSAGE)
    }
}

/// Whether a checkpoint under another name is one of the same hub, restored.
fn restored(old: &Checkpoint, new: &Checkpoint) -> Result<(), Error> {
    match (read_origin(&old.origin), read_origin(&new.origin)) {
        (Some((before, from)), Some((after, to))) if before == after && to > from => {
            tracing::warn!(
                before = old.origin,
                after = new.origin,
                seen = old.size,
                "the hub was restored from a backup; ask its operator for the audit, and verify it against the checkpoint that was seen before"
            );
            Ok(())
        }
        _ => Err(history(&format!("{} follows {}", new.origin, old.origin))),
    }
}

fn bad(problem: &impl std::fmt::Display) -> Error {
    history(&problem.to_string())
}

fn history(problem: &str) -> Error {
    Error::History(problem.to_owned())
}
