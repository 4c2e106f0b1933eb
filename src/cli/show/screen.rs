//! Decides how the dossier of a value reads on one screen: what matters first,
//! the newest of the rest, and how much is left out.

use crate::model::dossier::{ConflictKind, Kinship};
use crate::model::indicator::{RecommendedAction, Role};
use crate::model::sighting::Outcome;
use crate::wire::observable::flat;
use crate::wire::proto::v1;

use super::super::exit::Failure;
use super::super::language::{Language, moment};
use super::super::output::{Data, count, for_eyes};
use super::super::record;

/// Most assertions, days of sightings and related values in a group that are
/// shown.
const ASSERTIONS: usize = 10;
const TOTALS: usize = 7;
const RELATIVES: usize = 5;
/// Longest related value that is shown in full, in characters.
const VALUE: usize = 60;

/// Writes the screen.
pub(super) fn write(
    answer: v1::GetObservableResponse,
    language: Language,
    data: &mut Data,
) -> Result<(), Failure> {
    Screen { language, data }.all(answer)
}

struct Screen<'a> {
    language: Language,
    data: &'a mut Data,
}

impl Screen<'_> {
    fn all(mut self, answer: v1::GetObservableResponse) -> Result<(), Failure> {
        let (kind, value, _) = flat(answer.observable.clone());
        let kind = kind.map_or("", |kind| kind.as_str());
        self.line(&format!("{}  ({kind})", cut(&value)))?;
        self.summary(&answer)?;
        self.conflicts(&answer)?;
        self.assertions(&answer.assertions, answer.more_assertions)?;
        self.sightings(&answer.sightings, answer.more_sightings)?;
        self.related(answer.related)
    }

    const fn say(&self, en: &'static str, vi: &'static str) -> &'static str {
        self.language.say(en, vi)
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.data.line(text.trim_end())?)
    }

    fn field(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        self.line(&format!("  {name:16}  {value}"))
    }

    fn heading(&mut self, text: &str) -> Result<(), Failure> {
        self.line("")?;
        self.line(text)
    }

    fn summary(&mut self, answer: &v1::GetObservableResponse) -> Result<(), Failure> {
        if let Some(score) = &answer.score {
            let v1::ObservableScore { value, confidence, freshness, trust, half_life_days, .. } = score;
            let text = format!(
                "{value}/100  = {} {confidence} % × {} {freshness} % ({} {half_life_days} {}) × {} {trust} %",
                self.say("confidence", "độ tin cậy"),
                self.say("freshness", "độ mới"),
                self.say("half-life", "chu kỳ giảm nửa"),
                self.say("days", "ngày"),
                self.say("trust", "sau báo động giả"),
            );
            self.field(self.say("score", "điểm"), &text)?;
        }
        let v1::Corroboration { owners, others } = answer.corroboration.clone().unwrap_or_default();
        if !owners.is_empty() || others {
            let mut who: Vec<_> = owners.iter().map(|owner| record::slug(owner).to_owned()).collect();
            who.extend(others.then(|| self.say("others, masked", "nguồn khác được ẩn").to_owned()));
            let text = format!("{}  ({})", who.join(", "), owners.len());
            self.field(self.say("held by", "khẳng định bởi"), &text)?;
        }
        let met = [
            (self.say("first seen", "thấy lần đầu"), answer.first_seen),
            (self.say("last seen", "thấy lần cuối"), answer.last_seen),
            (self.say("first published", "đăng lần đầu"), answer.first_published),
        ];
        for (name, at) in met {
            if at.is_some() {
                self.field(name, &moment(at))?;
            }
        }
        Ok(())
    }

    fn conflicts(&mut self, answer: &v1::GetObservableResponse) -> Result<(), Failure> {
        if !answer.conflicts.is_empty() {
            self.heading(self.say("CONFLICTS", "MÂU THUẪN"))?;
        }
        let masked = self.say("source masked", "nguồn được ẩn");
        let who = |names: &[String]| {
            let owner = |name: &String| {
                let told = answer.assertions.iter().find(|assertion| assertion.name == *name);
                let owner = told.map(|told| record::slug(&told.owner)).filter(|owner| !owner.is_empty());
                owner.unwrap_or(masked).to_owned()
            };
            let mut owners: Vec<_> = names.iter().map(owner).collect();
            owners.dedup();
            owners.join(", ")
        };
        for v1::Conflict { kind, indicators, against } in &answer.conflicts {
            let (one, other) = (who(indicators), who(against));
            let text = match record::number(*kind).and_then(ConflictKind::from_number) {
                Some(ConflictKind::BlockAVictim) => format!(
                    "{one} {} {other}",
                    self.say(
                        "would block what is a victim's, says",
                        "đề nghị chặn, nhưng là của nạn nhân theo"
                    )
                ),
                Some(ConflictKind::BlockTheHarmless) => format!(
                    "{one} {} {other}",
                    self.say(
                        "would block; a false positive was reported to",
                        "đề nghị chặn; có báo động giả đối với"
                    )
                ),
                Some(ConflictKind::TakenBack) => format!(
                    "{one} {} {other}",
                    self.say(
                        "would hold to what was taken back by",
                        "vẫn khẳng định điều đã được thu hồi bởi"
                    )
                ),
                None => self.say("of another kind", "loại khác").to_owned(),
            };
            self.line(&format!("  ! {text}"))?;
        }
        Ok(())
    }

    fn assertions(&mut self, all: &[v1::Indicator], more: bool) -> Result<(), Failure> {
        if all.is_empty() {
            return Ok(());
        }
        self.heading(self.say("ASSERTIONS", "KHẲNG ĐỊNH"))?;
        for one in all.iter().take(ASSERTIONS) {
            let owner = match record::slug(&one.owner) {
                "" => self.say("source masked", "nguồn được ẩn"),
                owner => owner,
            };
            let confidence =
                one.confidence.map_or_else(|| "-".to_owned(), |confidence| confidence.to_string());
            let action = record::number(one.recommended_action).and_then(RecommendedAction::from_number);
            let role = record::number(one.role).and_then(Role::from_number);
            let tlp = record::tlp(one.marking.as_ref().map_or(0, |marking| marking.tlp));
            self.line(&format!(
                "  {owner:20}  {:7}  {tlp:16}  {confidence:>3}  {:8}  {:14}  {}",
                self.state(one.state),
                action.map_or("-", RecommendedAction::as_str),
                role.map_or("-", Role::as_str),
                one.labels.join(" "),
            ))?;
            let said = [
                (self.say("family", "họ"), &one.family),
                (self.say("campaign", "chiến dịch"), &one.campaign),
            ];
            let said: String = said
                .iter()
                .filter(|(_, text)| !text.is_empty())
                .map(|(name, text)| format!("  {name} {}", for_eyes(text)))
                .collect();
            let published = self.say("published", "đăng");
            self.line(&format!("    {published} {}{said}", moment(one.create_time)))?;
            self.line(&format!("    {}  etag {}", one.name, one.version))?;
        }
        self.left_out(all.len().saturating_sub(ASSERTIONS), more)
    }

    fn state(&self, state: i32) -> &'static str {
        match v1::IndicatorState::try_from(state) {
            Ok(v1::IndicatorState::Active) => self.say("active", "hiệu lực"),
            Ok(v1::IndicatorState::Revoked) => self.say("revoked", "thu hồi"),
            Ok(v1::IndicatorState::Expired) => self.say("expired", "hết hạn"),
            _ => self.say("unknown", "không rõ"),
        }
    }

    fn sightings(&mut self, all: &[v1::SightingTotal], more: bool) -> Result<(), Failure> {
        if all.is_empty() {
            return Ok(());
        }
        self.heading(self.say("SIGHTINGS", "PHÁT HIỆN"))?;
        for v1::SightingTotal { organisation_kind, day, outcome, sighted_count, reports } in
            all.iter().take(TOTALS)
        {
            let who = match organisation_kind.as_str() {
                "" => self.say("source masked", "nguồn được ẩn"),
                kind => kind,
            };
            let what = match record::number(*outcome).and_then(Outcome::from_number) {
                Some(Outcome::SeenBlocked) => self.say("seen, blocked", "thấy, đã chặn"),
                Some(Outcome::SeenNotBlocked) => self.say("seen, not blocked", "thấy, chưa chặn"),
                Some(Outcome::SearchedNotFound) => self.say("searched, not found", "đã tìm, không thấy"),
                Some(Outcome::FalsePositive) => self.say("false positive", "báo động giả"),
                None => self.say("unknown", "không rõ"),
            };
            let in_reports = self.say("in reports", "trong số báo cáo");
            let times = count(*sighted_count);
            self.line(&format!("  {day}  {who:20}  {what:19}  {times:>9} ×  {in_reports}: {reports}"))?;
        }
        self.left_out(all.len().saturating_sub(TOTALS), more)
    }

    fn related(mut self, all: Vec<v1::RelatedGroup>) -> Result<(), Failure> {
        if all.is_empty() {
            return Ok(());
        }
        self.heading(self.say("RELATED", "LIÊN QUAN"))?;
        for v1::RelatedGroup { relation, shared, values, more } in all {
            let how = match record::number(relation).and_then(Kinship::from_number) {
                Some(Kinship::SameFile) => self.say("same file", "cùng tệp"),
                Some(Kinship::ContainingNetwork) => self.say("lies in network", "thuộc mạng"),
                Some(Kinship::ParentDomain) => self.say("lies under", "thuộc tên miền"),
                Some(Kinship::Host) => self.say("host", "máy chủ"),
                Some(Kinship::HostNetwork) => self.say("host lies in network", "máy chủ thuộc mạng"),
                Some(Kinship::HostParentDomain) => self.say("host lies under", "máy chủ thuộc tên miền"),
                Some(Kinship::Endpoint) => self.say("host and port", "máy chủ và cổng"),
                Some(Kinship::SameDomain) => self.say("same domain", "cùng tên miền"),
                Some(Kinship::SameCampaign) => self.say("same campaign", "cùng chiến dịch"),
                Some(Kinship::SameFamily) => self.say("same family", "cùng họ mã độc"),
                None => self.say("otherwise", "cách khác"),
            };
            let name = if shared.is_empty() { String::new() } else { format!(" {}", for_eyes(&shared)) };
            let left = values.len().saturating_sub(RELATIVES);
            let shown = values.into_iter().take(RELATIVES);
            let shown: Vec<_> = shown.map(|value| cut(&flat(value.observable).1)).collect();
            self.line(&format!("  {how}{name}: {}", shown.join(", ")))?;
            self.left_out(left, more)?;
        }
        Ok(())
    }

    /// Says how many are left out here, and whether the hub leaves out more.
    fn left_out(&mut self, left: usize, more: bool) -> Result<(), Failure> {
        if left > 0 {
            let text = self.say("more; --json shows them", "nữa; --json cho xem");
            self.line(&format!("    … {left} {text}"))?;
        }
        if more {
            self.line(
                self.say(
                    "    … and more than the hub tells",
                    "    … và còn nữa, trung tâm không trả lời hết",
                ),
            )?;
        }
        Ok(())
    }
}

/// A value as eyes take it in.
fn cut(value: &str) -> String {
    let value = for_eyes(value);
    match value.char_indices().nth(VALUE) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value,
    }
}
