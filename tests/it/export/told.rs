//! What an export told, piece by piece.

use luytre::base::digest;
use luytre::wire::proto::v1;
use prost::Message as _;
use tonic::Status;
use v1::export_indicators_response::Part;
use v1::history_service_client::HistoryServiceClient;

use crate::harness::Peer;
use crate::harness::patience::patiently;

/// The answer to whoever has the file already.
pub(super) const UNCHANGED: Part = Part::Unchanged(v1::ExportUnchanged {});

/// A whole export.
#[derive(Debug, Clone, Default)]
pub(super) struct Whole {
    pub(super) opening: v1::ExportOpening,
    pub(super) content: Vec<u8>,
    pub(super) closing: v1::ExportClosing,
    /// Of each message.
    pub(super) lengths: Vec<usize>,
}

impl Whole {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.content.clone()).unwrap()
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        digest::sha256(&self.content)
    }
}

/// A request for all of it.
pub(super) fn of(format: v1::ExportFormat) -> v1::ExportIndicatorsRequest {
    v1::ExportIndicatorsRequest { format: format.into(), ..Default::default() }
}

/// Every piece.
pub(super) async fn parts(peer: &Peer, request: &v1::ExportIndicatorsRequest) -> Result<Vec<Part>, Status> {
    let mut client = HistoryServiceClient::new(peer.channel());
    let asked = client.export_indicators(request.clone());
    let mut stream = patiently("an export begins", asked).await?.into_inner();
    let mut parts = Vec::new();
    while let Some(piece) = patiently("the next piece", stream.message()).await? {
        parts.push(piece.part.unwrap());
    }
    Ok(parts)
}

/// Every piece, put together.
pub(super) async fn ask(peer: &Peer, request: v1::ExportIndicatorsRequest) -> Result<Whole, Status> {
    let mut whole = Whole::default();
    for part in parts(peer, &request).await? {
        let message = v1::ExportIndicatorsResponse { part: Some(part.clone()) };
        whole.lengths.push(message.encoded_len());
        match part {
            Part::Opening(opening) => whole.opening = opening,
            Part::Chunk(chunk) => whole.content.extend_from_slice(&chunk),
            Part::Closing(closing) => whole.closing = closing,
            Part::Unchanged(_) | Part::Progress(_) => panic!("not of a whole export"),
        }
    }
    Ok(whole)
}

/// The same, from the beginning, checked against its closing.
pub(super) async fn export(peer: &Peer, request: &v1::ExportIndicatorsRequest) -> Whole {
    let whole = ask(peer, request.clone()).await.unwrap();
    assert_eq!(whole.closing.bytes, whole.content.len() as u64);
    assert_eq!(whole.closing.sha256, whole.digest().as_slice());
    whole
}

/// The content but for the number of its state.
pub(super) fn unnumbered(content: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    if let Some(serial) = luytre::interop::export::serial(&content) {
        content.splice(serial.place, *b"0");
    }
    content
}
