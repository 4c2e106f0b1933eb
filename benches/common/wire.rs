//! Decides how the load travels: raw bytes over the same TLS and HTTP/2
//! settings as our own client, answers counted without being decoded.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::Stream;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// `ExchangeService.PublishStream`.
pub const PUBLISH: &str = "/luytre.v1.ExchangeService/PublishStream";
/// `SubscriptionService.Subscribe`.
pub const SUBSCRIBE: &str = "/luytre.v1.SubscriptionService/Subscribe";

/// Messages as bytes, both ways.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.reserve(item.len());
        dst.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = src.remaining();
        Ok(Some(src.copy_to_bytes(length)))
    }
}

/// Whom to call, and as whom.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate to show.
    pub tls: Arc<rustls::ClientConfig>,
}

impl Target {
    /// A connection of its own, made now.
    pub async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        let target = self.clone();
        Endpoint::from_static("http://localhost")
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(8 << 20)
            .connect_with_connector(tower::service_fn(move |_| {
                let target = target.clone();
                async move {
                    let tcp = TcpStream::connect(target.address).await?;
                    tcp.set_nodelay(true)?;
                    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                    let tls = TlsConnector::from(target.tls).connect(name, tcp).await?;
                    Ok::<_, io::Error>(TokioIo::new(tls))
                }
            }))
            .await
    }
}

/// Opens a stream both ways.
pub async fn open(
    channel: Channel,
    path: &'static str,
    metadata: &[(&'static str, usize)],
    requests: impl Stream<Item = Bytes> + Send + 'static,
) -> Result<Streaming<Bytes>, Status> {
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(64 << 20);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = Request::new(requests);
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, (*value).into());
    }
    let path = http::uri::PathAndQuery::from_static(path);
    Ok(client.streaming(request, path, Raw).await?.into_inner())
}

/// The fields of a message: number, and what a length-delimited one holds.
#[derive(Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = varint(&mut self.0)?;
        let length = match tag & 7 {
            0 => {
                varint(&mut self.0)?;
                return Some((tag >> 3, &[]));
            }
            1 => 8,
            2 => varint(&mut self.0)? as usize,
            5 => 4,
            _ => return None,
        };
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((tag >> 3, field))
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if *first < 0x80 {
            return Some(value);
        }
        shift += 7;
        if shift > 63 {
            return None;
        }
    }
}

/// How many items of a `PublishIndicatorsResponse` were taken.
pub fn published(answer: &[u8]) -> usize {
    // PublishResult: 1 is `published`, 2 is `rejected`.
    Fields(answer).filter(|(number, result)| *number == 1 && result.first() == Some(&0x0a)).count()
}

/// How many events a `SubscribeResponse` carries.
pub fn events(message: &[u8]) -> usize {
    let batch = Fields(message).find(|(number, _)| *number == 2);
    batch.map_or(0, |(_, batch)| Fields(batch).filter(|(number, _)| *number == 1).count())
}

/// Asks once, and waits for the one answer.
pub async fn unary(channel: &Channel, path: &'static str, request: Bytes) -> Result<Bytes, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(64 << 20);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static(path);
    Ok(client.unary(Request::new(request), path, Raw).await?.into_inner())
}
