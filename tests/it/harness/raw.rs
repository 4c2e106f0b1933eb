//! Decides how a test sees a call to the byte: what was sent and came back as
//! it is, with its headers and trailers.

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::tokio_stream::Stream;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

/// Sends and receives bytes as they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(src.copy_to_bytes(src.remaining())))
    }
}

/// All that a call brought back.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) headers: MetadataMap,
    pub(crate) messages: Vec<Bytes>,
    pub(crate) trailers: MetadataMap,
    /// Where it did not end well.
    pub(crate) status: Option<Status>,
}

/// Opens a call of `method` that says `said`.
pub(crate) async fn open(
    channel: &Channel,
    method: &str,
    said: impl Stream<Item = Bytes> + Send + 'static,
) -> Result<tonic::Response<Streaming<Bytes>>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(64 << 20);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    client.streaming(Request::new(said), PathAndQuery::try_from(method).unwrap(), Raw).await
}

/// Says `said`, nothing more, and takes all that comes back.
pub(crate) async fn call(channel: &Channel, method: &str, said: Vec<Bytes>) -> Answer {
    let mut answer = Answer::default();
    let mut messages = match open(channel, method, tokio_stream::iter(said)).await {
        Ok(response) => {
            answer.headers = response.metadata().clone();
            response.into_inner()
        }
        Err(status) => return Answer { status: Some(status), ..answer },
    };
    loop {
        match messages.message().await {
            Ok(Some(message)) => answer.messages.push(message),
            Ok(None) => break,
            Err(status) => {
                answer.status = Some(status);
                break;
            }
        }
    }
    answer.trailers = messages.trailers().await.ok().flatten().unwrap_or_default();
    answer
}
