//! Decides nothing: unpacks the calls of `HistoryService`, hands them to the
//! hub, and wraps what it answers.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, stream};
use tonic::{Request, Response, Status};

use crate::hub::{Dossier, Export, Exported, Hub, VersionPage, VersionView, Wanted};
use crate::model::audit::asked;
use crate::wire::convert::{aggregate, batch, dossier, export, filter, name, observable, time, versions};
use crate::wire::proto::v1;
use crate::wire::proto::v1::export_indicators_response::Part;
use crate::wire::proto::v1::history_service_server::HistoryService;

use super::call::Call;
use super::exchange::decode;
use super::status::{invalid, status};

/// The pieces of an export.
type Pieces = Pin<Box<dyn Stream<Item = Result<v1::ExportIndicatorsResponse, Status>> + Send>>;

/// The calls of `HistoryService`.
#[derive(Debug, Clone)]
pub(super) struct History(pub(super) Arc<Hub>);

#[tonic::async_trait]
impl HistoryService for History {
    type ExportIndicatorsStream = Pieces;

    async fn list_indicator_versions(
        &self,
        mut request: Request<v1::ListIndicatorVersionsRequest>,
    ) -> Result<Response<v1::ListIndicatorVersionsResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::ListIndicatorVersionsRequest { name, page_size, page_token } = request.into_inner();
        call.caller.trail().about(|| name.clone());
        let id = name::read_indicator("name", &name).map_err(invalid)?;
        let size = batch::read_page_size(page_size).map_err(invalid)?;
        let VersionPage { versions, next_page_token, truncated_before } =
            self.0.versions(&call.caller, id, size, &page_token).await.map_err(status)?;
        let versions = versions.into_iter().map(version).collect::<Result<_, _>>()?;
        let history_truncated_before = truncated_before.map(time::write);
        Ok(Response::new(v1::ListIndicatorVersionsResponse {
            versions,
            next_page_token,
            history_truncated_before,
        }))
    }

    async fn get_observable(
        &self,
        mut request: Request<v1::GetObservableRequest>,
    ) -> Result<Response<v1::GetObservableResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::GetObservableRequest { observable } = request.into_inner();
        let observable::Read { observable, aliases, raw: _ } =
            observable::read(observable).map_err(|refused| invalid(refused.under("observable")))?;
        call.caller.trail().asked(1);
        self.0.note_values(&call.caller, std::slice::from_ref(&observable));
        let shown = dossier::value(&observable, &aliases);
        let Dossier { assertions, more_assertions, summary, more_sightings, related } =
            self.0.dossier(&call.caller, observable, aliases).await.map_err(status)?;
        let answer = v1::GetObservableResponse {
            observable: Some(shown),
            assertions: assertions.into_iter().map(decode).collect::<Result<_, _>>()?,
            more_assertions,
            more_sightings,
            ..v1::GetObservableResponse::default()
        };
        Ok(Response::new(dossier::tell(answer, summary, related)))
    }

    async fn aggregate_indicators(
        &self,
        mut request: Request<v1::AggregateIndicatorsRequest>,
    ) -> Result<Response<v1::AggregateIndicatorsResponse>, Status> {
        let call = Call::take(&mut request)?;
        let counting = aggregate::read(request.into_inner()).map_err(invalid)?;
        call.caller.trail().about(|| asked::filter(&counting.filter));
        let by = counting.by;
        let counted = self.0.aggregate(&call.caller, counting).await.map_err(status)?;
        Ok(Response::new(aggregate::write(counted, by)))
    }

    async fn export_indicators(
        &self,
        mut request: Request<v1::ExportIndicatorsRequest>,
    ) -> Result<Response<Pieces>, Status> {
        let call = Call::take(&mut request)?;
        let v1::ExportIndicatorsRequest { filter, format, if_none_match, position_token, offset } =
            request.into_inner();
        let wanted = Wanted {
            filter: filter::read(filter).map_err(|refused| invalid(refused.under("filter")))?,
            format: export::read_format("format", format).map_err(invalid)?,
            if_none_match: export::read_etag("if_none_match", &if_none_match).map_err(invalid)?,
            offset: export::read_offset("offset", offset, &position_token).map_err(invalid)?,
            position_token,
        };
        call.caller.trail().about(|| asked::filter(&wanted.filter));
        let export = self.0.export(&call.caller, wanted).map_err(status)?;
        let pieces = stream::try_unfold((Arc::clone(&self.0), call, export), next);
        Ok(Response::new(Box::pin(pieces)))
    }
}

fn version(view: VersionView) -> Result<v1::IndicatorVersion, Status> {
    let VersionView { indicator, change, time, before } = view;
    let before = before.map(decode).transpose()?;
    Ok(versions::write(decode(indicator)?, before, change, time))
}

/// The next piece, for a caller who may still have it.
async fn next(
    (hub, call, mut export): (Arc<Hub>, Call, Export),
) -> Result<Option<(v1::ExportIndicatorsResponse, (Arc<Hub>, Call, Export))>, Status> {
    let severed = call.caller.clone();
    call.again(&hub).map_err(status)?;
    let piece = tokio::select! {
        biased;
        () = severed.severed() => return Err(status(call.severed(&hub).await)),
        piece = export.next() => piece.map_err(status)?,
    };
    if let Some(Exported::Closing(closing)) = &piece {
        call.caller.trail().given(usize::try_from(closing.rows).unwrap_or(usize::MAX), 0);
    }
    Ok(piece.map(|piece| (v1::ExportIndicatorsResponse { part: Some(write(piece)) }, (hub, call, export))))
}

fn write(piece: Exported) -> Part {
    match piece {
        Exported::Progress(found) => Part::Progress(v1::ExportProgress { found }),
        Exported::Unchanged => Part::Unchanged(v1::ExportUnchanged {}),
        Exported::Opening(opening) => Part::Opening(v1::ExportOpening {
            content_type: opening.format.content_type().to_owned(),
            tlp: opening.tlp.map(|tlp| i32::from(tlp.number())).unwrap_or_default(),
            position_token: opening.position_token,
        }),
        Exported::Chunk(bytes) => Part::Chunk(bytes),
        Exported::Closing(closing) => Part::Closing(v1::ExportClosing {
            sha256: closing.sha256.to_vec().into(),
            etag: export::write_etag(&closing.etag),
            rows: closing.rows,
            bytes: closing.bytes,
            omissions: export::write_omissions(closing.omitted),
            defused_cells: closing.defused,
        }),
    }
}
