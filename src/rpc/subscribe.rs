//! Decides what a subscriber may say and when; frames leave as the bytes that
//! the hub encoded once, through a codec of their own.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryFutureExt as _, stream};
use prost::Message as _;
use tokio_util::task::TaskTracker;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Response, Status, Streaming};

use crate::hub::error::{Error, Reason};
use crate::hub::{Command, Hub, Open, Opened, Start};
use crate::model::Invalid;
use crate::model::org::OrgSlug;
use crate::wire::convert::subscription::{self, Position};
use crate::wire::convert::{filter, name, time};
use crate::wire::frame::Frame;
use crate::wire::proto::v1;

use super::call::Call;
use super::face::MAX_SMALL_MESSAGE_BYTES;
use super::status::status;

/// How long a new stream may keep the hub waiting for its `Open`.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// The `Subscribe` call.
#[derive(Debug, Clone)]
pub(super) struct Subscribe {
    /// Whom to ask.
    pub(super) hub: Arc<Hub>,
    /// Where running streams are counted.
    pub(super) streams: TaskTracker,
}

impl Subscribe {
    /// Serves one call.
    pub(super) async fn serve(
        self,
        request: http::Request<tonic::body::Body>,
    ) -> http::Response<tonic::body::Body> {
        tonic::server::Grpc::new(FrameCodec)
            .apply_max_message_size_config(Some(MAX_SMALL_MESSAGE_BYTES), None)
            .streaming(self, request)
            .await
    }

    /// Answers an admitted call at once, before its first message: a client
    /// may so wait to speak until it knows that it was let in, and one that is
    /// not let in never writes to a call that has ended.
    fn open(self, mut request: Request<Streaming<v1::SubscribeRequest>>) -> Result<Response<Frames>, Status> {
        let call = Call::take(&mut request)?;
        let frames = self.frames(call, request.into_inner()).try_flatten_stream();
        Ok(Response::new(Box::pin(frames)))
    }

    async fn frames(
        self,
        call: Call,
        mut incoming: Streaming<v1::SubscribeRequest>,
    ) -> Result<Frames, Status> {
        let open = first(&mut incoming).await?;
        let open = read_open(open, call.caller.identity().org()).map_err(status)?;
        let (opened, pump) = self.hub.subscribe(&call.caller, open).await.map_err(status)?;
        let frames = pump.frames(Box::pin(stream::unfold(incoming, next_command)));
        let opened = stream::once(std::future::ready(Ok(write_opened(opened))));
        let running = self.streams.token();
        let frames = opened.chain(frames.map(move |frame| {
            let _counted = &running;
            frame.map_err(status)
        }));
        Ok(Box::pin(frames))
    }
}

impl tonic::server::StreamingService<v1::SubscribeRequest> for Subscribe {
    type Response = Frame;
    type ResponseStream = Frames;
    type Future = std::future::Ready<Result<Response<Frames>, Status>>;

    fn call(&mut self, request: Request<Streaming<v1::SubscribeRequest>>) -> Self::Future {
        std::future::ready(self.clone().open(request))
    }
}

async fn first(incoming: &mut Streaming<v1::SubscribeRequest>) -> Result<v1::Open, Status> {
    use v1::subscribe_request::Message;
    let refused = |problem: &str| status(Invalid::new("message", problem).into());
    match tokio::time::timeout(OPEN_WITHIN, incoming.message()).await {
        Ok(Ok(Some(v1::SubscribeRequest { message: Some(Message::Open(open)) }))) => Ok(open),
        Ok(Ok(Some(_))) => Err(refused("the first message is Open")),
        Ok(Ok(None)) => Err(refused("the stream ended before its first message, Open")),
        Ok(Err(status)) => Err(status),
        Err(_) => Err(status(Error::new(
            Reason::DeadlineExceeded,
            "send Open within 10 seconds of calling Subscribe",
        ))),
    }
}

/// The next thing a subscriber says after `Open`; none at the end.
async fn next_command(
    mut incoming: Streaming<v1::SubscribeRequest>,
) -> Option<(Result<Command, Error>, Streaming<v1::SubscribeRequest>)> {
    let command = match incoming.message().await {
        Ok(Some(v1::SubscribeRequest { message })) => read_command(message),
        Ok(None) => return None,
        // A transport that failed has nobody left to tell; what could not be
        // decoded has.
        Err(status) => Err(super::layers::own_fault(&status)?),
    };
    Some((command, incoming))
}

fn read_command(message: Option<v1::subscribe_request::Message>) -> Result<Command, Error> {
    use v1::subscribe_request::Message;
    match message {
        Some(Message::Credit(credit)) => Ok(Command::Credit(subscription::read_credit(credit)?)),
        Some(Message::Ack(v1::Ack { resume_token })) => Ok(Command::Ack(token(resume_token)?)),
        Some(Message::Open(_)) => {
            Err(Invalid::new("open", "a stream is opened once; start another call").into())
        }
        None => Err(Invalid::new("message", "required: Credit or Ack").into()),
    }
}

fn read_open(pb: v1::Open, own: &OrgSlug) -> Result<Open, Error> {
    use v1::open::Start as Pb;
    let v1::Open { subscription, filter, start, initial_credit, include_sightings, include_notices } = pb;
    let subscription = match subscription.as_str() {
        "" => None,
        text => {
            let (owner, id) = name::read_subscription("open.subscription", text, own)?;
            if owner != *own {
                return Err(Error::absent());
            }
            Some(id)
        }
    };
    let start = match start {
        None => None,
        Some(Pb::ResumeToken(bytes)) => Some(Start::Token(token(bytes)?)),
        Some(Pb::Position(number)) => Some(match subscription::read_position(number)? {
            Position::Earliest => Start::Earliest,
            Position::Latest => Start::Latest,
            Position::CurrentState => Start::CurrentState,
        }),
        Some(Pb::Time(at)) => time::read("open.time", Some(at))?.map(Start::Time),
    };
    if start.is_none() && subscription.is_none() {
        return Err(Invalid::new(
            "open.start",
            "required unless a named subscription goes on from its cursor",
        )
        .into());
    }
    let filter = filter::read_for_subscription(filter).map_err(|invalid| invalid.under("open.filter"))?;
    let credit = u64::from(initial_credit);
    Ok(Open { subscription, filter, start, credit, include_sightings, include_notices })
}

fn token(bytes: Bytes) -> Result<Bytes, Error> {
    if subscription::is_token(&bytes) {
        Ok(bytes)
    } else {
        Err(Error::new(Reason::ResumeTokenInvalid, "send a token exactly as this hub gave it"))
    }
}

fn write_opened(opened: Opened) -> Frame {
    let Opened { filter, token, heartbeat_seconds } = opened;
    let opened = v1::Opened { filter: Some(filter::write(filter)), resume_token: token, heartbeat_seconds };
    let message = v1::SubscribeResponse { message: Some(v1::subscribe_response::Message::Opened(opened)) };
    Frame::Message(message.encode_to_vec().into())
}

/// The messages of one stream.
type Frames = Pin<Box<dyn Stream<Item = Result<Frame, Status>> + Send>>;

/// Writes frames as they are and reads protobuf.
#[derive(Debug, Clone, Copy)]
struct FrameCodec;

impl Codec for FrameCodec {
    type Encode = Frame;
    type Decode = v1::SubscribeRequest;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for FrameCodec {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.reserve(frame.encoded_len());
        frame.encode(dst);
        Ok(())
    }

    /// Frames are large already: what is ready at once goes out at once. A
    /// quiet subscription keeps the buffer, so it starts small and grows.
    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(1024, 256 * 1024)
    }
}

impl Decoder for FrameCodec {
    type Item = v1::SubscribeRequest;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        v1::SubscribeRequest::decode(src).map(Some).map_err(|error| Status::internal(error.to_string()))
    }

    /// What a subscriber says is short, and the buffer is kept.
    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(1024, 32 * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::invalid;
    use v1::subscribe_request::Message;

    fn own() -> OrgSlug {
        OrgSlug::parse("own").unwrap()
    }

    fn earliest() -> v1::Open {
        v1::Open { start: Some(v1::open::Start::Position(1)), ..Default::default() }
    }

    fn refused(open: v1::Open) -> (Reason, String) {
        let error = read_open(open, &own()).err().unwrap();
        (error.reason, error.fields.first().map(|f| f.field.clone()).unwrap_or_default())
    }

    #[test]
    fn a_stream_says_where_to_start_unless_its_name_knows() {
        assert_eq!(
            refused(v1::Open::default()),
            (Reason::Input(invalid::Reason::FieldInvalid), "open.start".into())
        );
        assert!(read_open(earliest(), &own()).is_ok());
        let named =
            v1::Open { subscription: "organisations/me/subscriptions/siem".into(), ..Default::default() };
        let open = read_open(named, &own()).unwrap();
        assert!(open.start.is_none());
        assert_eq!(open.subscription.as_deref(), Some("siem"));
    }

    #[test]
    fn the_name_of_another_organisation_is_as_absent_as_none() {
        let foreign =
            v1::Open { subscription: "organisations/other/subscriptions/siem".into(), ..earliest() };
        assert_eq!(refused(foreign).0, Reason::NotFound);
    }

    #[test]
    fn a_refused_open_names_the_path_of_the_field() {
        let filter = v1::IndicatorFilter { states: vec![1], ..Default::default() };
        assert_eq!(refused(v1::Open { filter: Some(filter), ..earliest() }).1, "open.filter.states");
        let start = Some(v1::open::Start::Position(9));
        assert_eq!(refused(v1::Open { start, ..Default::default() }).1, "open.position");
        let start = Some(v1::open::Start::ResumeToken(Bytes::from(vec![0; 4_096])));
        assert_eq!(refused(v1::Open { start, ..Default::default() }).0, Reason::ResumeTokenInvalid);
    }

    #[test]
    fn after_open_come_credit_and_ack_only() {
        let refused = |message| read_command(message).err().unwrap().fields[0].field.clone();
        assert_eq!(refused(Some(Message::Open(earliest()))), "open");
        assert_eq!(refused(Some(Message::Credit(v1::Credit { events: 0 }))), "credit.events");
        assert_eq!(refused(None), "message");
        assert!(matches!(
            read_command(Some(Message::Credit(v1::Credit { events: 7 }))),
            Ok(Command::Credit(7))
        ));
    }
}
