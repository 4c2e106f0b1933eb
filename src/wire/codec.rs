//! Decides how far a message may unfold: two bytes on the wire can be an empty
//! item of some hundred in memory, so items are counted before any is decoded.
//! The generated services read and write through this codec.

use bytes::Buf as _;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use super::convert::batch::MAX_ITEMS;
use super::convert::marking::MAX_ORGANISATIONS;
use super::proto::v1;
use crate::model::indicator::draft::MAX_LABELS;
use crate::model::indicator::technique::MAX_TECHNIQUES;

/// Largest item, in bytes.
pub const MAX_ITEM_BYTES: usize = 512 * 1024;
/// Most labels of one item. This and those that follow lie beyond what is
/// accepted by so much that the refusal of the one item still tells an honest
/// caller what is wrong with it.
pub const MAX_ITEM_LABELS: usize = 4 * MAX_LABELS;
/// Most techniques of one item.
pub const MAX_ITEM_TECHNIQUES: usize = 4 * MAX_TECHNIQUES;
/// Most names in the marking of one item.
pub const MAX_ITEM_NAMES: usize = 4 * MAX_ORGANISATIONS;

/// The message holds more than a request may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more items, or more in one of them, than a request may hold")]
pub struct Error;

/// A message that is held against its bounds before it is decoded.
pub trait Bounded {
    /// Checks an encoded message, which need not be well-formed.
    ///
    /// # Errors
    /// It holds too much.
    fn check(_encoded: &[u8]) -> Result<(), Error> {
        Ok(())
    }
}

impl Bounded for v1::PublishIndicatorsRequest {
    fn check(encoded: &[u8]) -> Result<(), Error> {
        items(encoded, 2, draft)
    }
}

impl Bounded for v1::ReportSightingsRequest {
    fn check(encoded: &[u8]) -> Result<(), Error> {
        items(encoded, 2, sighting)
    }
}

impl Bounded for v1::LookupObservablesRequest {
    fn check(encoded: &[u8]) -> Result<(), Error> {
        items(encoded, 1, |_| Ok(()))
    }
}

/// Messages that need no bound of their own: the hub reads the requests among
/// them up to a size that bounds them enough, and clients believe its answers.
macro_rules! bounded_by_size {
    ($($message:ident)*) => { $(impl Bounded for v1::$message {})* };
}

bounded_by_size! {
    EnrollSystemRequest
    EnrollSystemResponse
    RenewCertificateRequest
    RenewCertificateResponse
    GetTrustBundleRequest
    GetTrustBundleResponse
    GetRevocationListRequest
    GetRevocationListResponse
    IssueEnrollmentTokenRequest
    IssueEnrollmentTokenResponse
    ListEnrollmentTokensRequest
    ListEnrollmentTokensResponse
    ApproveEnrollmentTokenRequest
    ApproveEnrollmentTokenResponse
    CancelEnrollmentTokenRequest
    CancelEnrollmentTokenResponse
    ListCertificatesRequest
    ListCertificatesResponse
    GetCertificateRequest
    GetCertificateResponse
    RevokeCertificateRequest
    RevokeCertificateResponse
    ConfirmCertificatesRequest
    ConfirmCertificatesResponse
    SeverConnectionsRequest
    SeverConnectionsResponse
    ListAuthoritiesRequest
    ListAuthoritiesResponse
    RotateAuthorityRequest
    RotateAuthorityResponse
    PublishIndicatorsResponse ReportSightingsResponse LookupObservablesResponse
    RevokeIndicatorRequest RevokeIndicatorResponse
    GetIndicatorRequest GetIndicatorResponse
    ExplainAccessRequest ExplainAccessResponse
    ListIndicatorsRequest ListIndicatorsResponse
    ExportIndicatorsRequest ExportIndicatorsResponse
    SubscribeRequest SubscribeResponse
    GetSubscriptionRequest GetSubscriptionResponse
    ListSubscriptionsRequest ListSubscriptionsResponse
    DeleteSubscriptionRequest DeleteSubscriptionResponse
    GetOrganisationRequest GetOrganisationResponse
    GetRosterRequest GetRosterResponse
    DiffRosterRequest DiffRosterResponse
    ApplyRosterRequest ApplyRosterResponse
    RequestRepublicationRequest RequestRepublicationResponse
    GrantRepublicationRequest GrantRepublicationResponse
    WithdrawRepublicationRequest WithdrawRepublicationResponse
    ListRepublicationsRequest ListRepublicationsResponse
    ListHeldPublicationsRequest ListHeldPublicationsResponse
    ApprovePublicationRequest ApprovePublicationResponse
    RejectPublicationRequest RejectPublicationResponse
    HoldIndicatorRequest HoldIndicatorResponse
    ReleaseIndicatorRequest ReleaseIndicatorResponse
    ListRecipientsRequest ListRecipientsResponse
    ListPendingChangesRequest ListPendingChangesResponse
    ApproveChangeRequest ApproveChangeResponse
    RejectChangeRequest RejectChangeResponse
    ListOrganisationsRequest ListOrganisationsResponse
    WhoAmIRequest WhoAmIResponse
    ListIndicatorVersionsRequest ListIndicatorVersionsResponse
    GetObservableRequest GetObservableResponse
    AggregateIndicatorsRequest AggregateIndicatorsResponse
    GetAssetsRequest GetAssetsResponse ChangeAssetsRequest ChangeAssetsResponse
    ListAuditRecordsRequest ListAuditRecordsResponse
    GetCheckpointRequest GetCheckpointResponse
    GetConsistencyProofRequest GetConsistencyProofResponse
    GetInclusionProofRequest GetInclusionProofResponse
    ExportAuditLogRequest ExportAuditLogResponse
}

/// Checks the items in the repeated field `number`, each by `check`.
fn items(encoded: &[u8], number: u32, check: fn(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let mut count = 0;
    each(encoded, |found, item| {
        if found != number {
            return Ok(());
        }
        count += 1;
        if count > MAX_ITEMS || item.len() > MAX_ITEM_BYTES {
            return Err(Error);
        }
        check(item)
    })
}

/// Checks what an `IndicatorDraft` repeats. A marking that comes in pieces is
/// merged, so its names add up.
fn draft(encoded: &[u8]) -> Result<(), Error> {
    const MARKING: u32 = 3;
    const LABELS: u32 = 5;
    const TECHNIQUES: u32 = 16;
    let (mut labels, mut techniques, mut names) = (0, 0, 0);
    each(encoded, |number, value| {
        match number {
            LABELS => labels += 1,
            TECHNIQUES => techniques += 1,
            MARKING => marking(value, &mut names)?,
            _ => {}
        }
        if labels > MAX_ITEM_LABELS || techniques > MAX_ITEM_TECHNIQUES { Err(Error) } else { Ok(()) }
    })
}

/// Checks what a `Sighting` repeats.
fn sighting(encoded: &[u8]) -> Result<(), Error> {
    const MARKING: u32 = 8;
    let mut names = 0;
    each(encoded, |number, value| if number == MARKING { marking(value, &mut names) } else { Ok(()) })
}

/// Adds to `names` what a `Marking` names.
fn marking(encoded: &[u8], names: &mut usize) -> Result<(), Error> {
    each(encoded, |number, _| {
        // Organisations, groups and principals.
        *names += usize::from(matches!(number, 2..=4));
        if *names > MAX_ITEM_NAMES { Err(Error) } else { Ok(()) }
    })
}

/// Shows every field up to the end, or to what is malformed: there decoding
/// ends as well, and says so. What stands within a group counts as if it stood
/// beside it; our messages have no groups, so decoding keeps less than that.
fn each(mut encoded: &[u8], mut see: impl FnMut(u32, &[u8]) -> Result<(), Error>) -> Result<(), Error> {
    while let Some((number, value)) = next(&mut encoded) {
        see(number, value)?;
    }
    Ok(())
}

/// Takes the next field off `rest`.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    let (number, wire_type) = decode_key(rest).ok()?;
    let length = match wire_type {
        WireType::Varint => decode_varint(rest).ok().map(|_| 0)?,
        WireType::ThirtyTwoBit => 4,
        WireType::SixtyFourBit => 8,
        WireType::LengthDelimited => usize::try_from(decode_varint(rest).ok()?).ok()?,
        WireType::StartGroup | WireType::EndGroup => 0,
    };
    rest.split_off(..length).map(|value| (number, value))
}

/// Protobuf, with each message held against its bounds before it is decoded.
#[derive(Debug, Clone)]
pub struct Codec<T, U>(ProstCodec<T, U>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(ProstCodec::new())
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Bounded + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(self.0.decoder())
    }
}

/// The reading half of [`Codec`].
#[derive(Debug, Clone)]
pub struct BoundedDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default + Bounded> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let encoded = src.chunk();
        if encoded.len() < src.remaining() {
            return Err(Status::internal("a message came in pieces"));
        }
        // The code with which tonic refuses a message that is too long.
        U::check(encoded).map_err(|error| Status::out_of_range(error.to_string()))?;
        self.0.decode(src)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(indicators: Vec<v1::IndicatorDraft>) -> Result<(), Error> {
        let request =
            v1::PublishIndicatorsRequest { request_id: "r".into(), indicators, ..Default::default() };
        v1::PublishIndicatorsRequest::check(&request.encode_to_vec())
    }

    fn sight(sightings: Vec<v1::Sighting>) -> Result<(), Error> {
        let request = v1::ReportSightingsRequest { request_id: "r".into(), sightings };
        v1::ReportSightingsRequest::check(&request.encode_to_vec())
    }

    fn look_up(observables: Vec<v1::Observable>) -> Result<(), Error> {
        let request = v1::LookupObservablesRequest { observables, ..Default::default() };
        v1::LookupObservablesRequest::check(&request.encode_to_vec())
    }

    fn labelled(count: usize) -> v1::IndicatorDraft {
        v1::IndicatorDraft { labels: vec![String::new(); count], ..Default::default() }
    }

    fn described(length: usize) -> v1::IndicatorDraft {
        v1::IndicatorDraft { description: "a".repeat(length), ..Default::default() }
    }

    #[test]
    fn items_are_counted_before_they_are_decoded() {
        assert_eq!(publish(vec![labelled(1); MAX_ITEMS]), Ok(()));
        assert_eq!(publish(vec![v1::IndicatorDraft::default(); MAX_ITEMS + 1]), Err(Error));
        assert_eq!(sight(vec![v1::Sighting::default(); MAX_ITEMS]), Ok(()));
        assert_eq!(sight(vec![v1::Sighting::default(); MAX_ITEMS + 1]), Err(Error));
        assert_eq!(look_up(vec![v1::Observable::default(); MAX_ITEMS]), Ok(()));
        assert_eq!(look_up(vec![v1::Observable::default(); MAX_ITEMS + 1]), Err(Error));
    }

    #[test]
    fn what_one_item_repeats_is_counted_before_it_is_decoded() {
        assert_eq!(publish(vec![labelled(MAX_ITEM_LABELS); 2]), Ok(()));
        assert_eq!(publish(vec![labelled(1), labelled(MAX_ITEM_LABELS + 1)]), Err(Error));
        let using = |count| v1::IndicatorDraft {
            attack_techniques: vec![String::new(); count],
            ..Default::default()
        };
        assert_eq!(publish(vec![using(MAX_ITEM_TECHNIQUES); 2]), Ok(()));
        assert_eq!(publish(vec![using(1), using(MAX_ITEM_TECHNIQUES + 1)]), Err(Error));
        let audience = |organisations, groups, principals| {
            let names = |count| vec![String::new(); count];
            let marking = v1::Marking {
                tlp: v1::Tlp::Amber.into(),
                organisations: names(organisations),
                groups: names(groups),
                principals: names(principals),
                caveats: None,
            };
            let sighted = sight(vec![v1::Sighting { marking: Some(marking.clone()), ..Default::default() }]);
            let published =
                publish(vec![v1::IndicatorDraft { marking: Some(marking), ..Default::default() }]);
            assert_eq!(sighted, published);
            published
        };
        assert_eq!(audience(MAX_ITEM_NAMES - 2, 1, 1), Ok(()));
        for (organisations, groups, principals) in [(1, 0, 0), (0, 1, 0), (0, 0, 1)].map(|(a, b, c)| {
            let many = MAX_ITEM_NAMES + 1;
            (a * many, b * many, c * many)
        }) {
            assert_eq!(audience(organisations, groups, principals), Err(Error));
        }
    }

    #[test]
    fn a_marking_in_pieces_is_one_marking() {
        // A draft of many markings, each of one empty name.
        let draft = [0x1a, 2, 0x12, 0].repeat(MAX_ITEM_NAMES + 1);
        let mut encoded = vec![0x12];
        prost::encoding::encode_varint(draft.len() as u64, &mut encoded);
        encoded.extend(draft);
        let decoded = v1::PublishIndicatorsRequest::decode(&*encoded).unwrap();
        let names = decoded.indicators[0].marking.as_ref().unwrap().organisations.len();
        assert_eq!(names, MAX_ITEM_NAMES + 1);
        assert_eq!(v1::PublishIndicatorsRequest::check(&encoded), Err(Error));
    }

    #[test]
    fn an_item_has_a_greatest_size() {
        assert_eq!(publish(vec![described(MAX_ITEM_BYTES - 8); 2]), Ok(()));
        assert_eq!(publish(vec![described(MAX_ITEM_BYTES + 1)]), Err(Error));
    }

    #[test]
    fn unknown_fields_and_groups_hide_no_item() {
        let many = [0x12, 0].repeat(MAX_ITEMS + 1);
        for before in [
            &[0x0a, 1, b'r'][..],
            // Field 15 in each encoding: a varint, 8 bytes, 4 bytes, bytes, a group of a varint.
            &[0x78, 0xff, 0x01],
            &[0x79, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x7d, 1, 2, 3, 4],
            &[0x7a, 2, 0x12, 0],
            &[0x7b, 0x08, 1, 0x7c],
        ] {
            let encoded = [before, &many].concat();
            let decoded = v1::PublishIndicatorsRequest::decode(&*encoded).unwrap();
            assert_eq!(decoded.indicators.len(), MAX_ITEMS + 1, "{before:?}");
            assert_eq!(v1::PublishIndicatorsRequest::check(&encoded), Err(Error), "{before:?}");
        }
    }

    #[test]
    fn what_is_malformed_is_left_for_decoding_to_refuse() {
        for encoded in [&[0xff][..], &[0x12], &[0x12, 9, 1], &[0x12, 2, 0x1a, 9], &[0x07], &[0x79, 1]] {
            assert_eq!(v1::PublishIndicatorsRequest::check(encoded), Ok(()), "{encoded:?}");
            assert!(v1::PublishIndicatorsRequest::decode(encoded).is_err(), "{encoded:?}");
        }
    }
}
