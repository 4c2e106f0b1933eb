//! Decides how a file is exported: piece by piece, on from where it stopped
//! after a break, and checked against what the hub says that it was.

use bytes::Bytes;
use tonic::{Request, Status, Streaming};

use crate::base::digest::Sha256;
use crate::wire::proto::v1;
use v1::export_indicators_response::Part;
use v1::history_service_client::HistoryServiceClient;

use super::backoff::{Backoff, Tries};
use super::calls::{Client, MAX_MESSAGE};
use super::error::Error;

/// Broken connections in a row after which it gives up.
const CUTS: u32 = 4;

/// A piece of an export.
#[derive(Debug, Clone, PartialEq)]
pub enum ExportPart {
    /// Indicators found so far, before the opening: this export takes long.
    Progress(u64),
    /// The file with the etag that was given is as it would be; nothing
    /// follows.
    Unchanged,
    /// What the content is.
    Opening(v1::ExportOpening),
    /// A piece of the content.
    Chunk(Bytes),
    /// What the content was. All of it has come, and is what the hub sent.
    Closing(v1::ExportClosing),
}

/// An export on its way: it goes on as its pieces are asked for.
#[derive(Debug)]
pub struct Exporting {
    client: Client,
    request: v1::ExportIndicatorsRequest,
    stream: Option<Streaming<v1::ExportIndicatorsResponse>>,
    tries: Tries,
    content: Sha256,
    received: u64,
    opened: bool,
    ended: bool,
}

impl Client {
    /// Exports what `filter` wants as a file of `format`. `if_none_match` is
    /// the etag of the file that is there; empty: there is none.
    ///
    /// ```no_run
    /// # async fn example(client: luytre::client::Client) -> Result<(), luytre::client::Error> {
    /// use luytre::client::{ExportPart, v1};
    /// let mut export = client.export(Default::default(), v1::ExportFormat::Hosts, "");
    /// let mut file = Vec::new();
    /// while let Some(part) = export.next_part().await? {
    ///     if let ExportPart::Chunk(bytes) = part {
    ///         file.extend_from_slice(&bytes);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn export(
        &self,
        filter: v1::IndicatorFilter,
        format: v1::ExportFormat,
        if_none_match: &str,
    ) -> Exporting {
        let request = v1::ExportIndicatorsRequest {
            filter: Some(filter),
            format: format.into(),
            if_none_match: if_none_match.to_owned(),
            ..v1::ExportIndicatorsRequest::default()
        };
        Exporting {
            client: self.clone(),
            request,
            stream: None,
            tries: Tries::new(Backoff::CALL, CUTS),
            content: Sha256::default(),
            received: 0,
            opened: false,
            ended: false,
        }
    }
}

impl Exporting {
    /// The next piece; `None` after the closing. After a broken connection the
    /// same content goes on where it stopped.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Protocol`] if what came is not what the hub
    /// says that it sent. What came before is then of no use.
    pub async fn next_part(&mut self) -> Result<Option<ExportPart>, Error> {
        while !self.ended {
            match self.receive().await {
                Ok(part) => {
                    self.tries.progress();
                    if let Some(part) = self.take(part)? {
                        return Ok(Some(part));
                    }
                }
                Err(status) => {
                    self.stream = None;
                    let delay = self.tries.after(&status, self.client.hub())?;
                    tokio::time::sleep(delay).await;
                }
            }
        }
        Ok(None)
    }

    async fn receive(&mut self) -> Result<Option<Part>, Status> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let mut history = HistoryServiceClient::new(self.client.connection().channel())
                    .max_decoding_message_size(MAX_MESSAGE);
                let opening = history.export_indicators(Request::new(self.request.clone()));
                let opened = tokio::time::timeout(self.client.deadline(), opening).await;
                let opened = opened.map_err(|_| Status::unavailable("the hub does not answer"))??;
                none.insert(opened.into_inner())
            }
        };
        Ok(stream.message().await?.and_then(|response| response.part))
    }

    /// What a piece is for the caller; `None`: nothing, for he has it.
    fn take(&mut self, part: Option<Part>) -> Result<Option<ExportPart>, Error> {
        let broken = |problem: &str| Err(Error::Protocol(problem.to_owned()));
        Ok(Some(match part {
            None => return broken("an export ended before its closing"),
            Some(Part::Progress(v1::ExportProgress { found })) => {
                return Ok((!self.opened).then_some(ExportPart::Progress(found)));
            }
            Some(Part::Unchanged(_)) => {
                self.ended = true;
                ExportPart::Unchanged
            }
            Some(Part::Opening(opening)) => {
                self.request.position_token.clone_from(&opening.position_token);
                // Once some of it is here, the rest is wanted.
                self.request.if_none_match.clear();
                if std::mem::replace(&mut self.opened, true) {
                    return Ok(None);
                }
                // What is begun is worth more patience.
                self.tries = Tries::new(Backoff::STREAM, CUTS);
                ExportPart::Opening(opening)
            }
            Some(Part::Chunk(bytes)) => {
                self.content.update(&bytes);
                self.received += bytes.len() as u64;
                self.request.offset = self.received;
                ExportPart::Chunk(bytes)
            }
            Some(Part::Closing(closing)) => {
                let content = std::mem::take(&mut self.content).finish();
                if closing.bytes != self.received || closing.sha256 != content.as_slice() {
                    return broken(
                        "the content of an export is not what the hub says that it sent; if rights changed \
                         meanwhile, another try will do",
                    );
                }
                self.ended = true;
                ExportPart::Closing(closing)
            }
        }))
    }
}
