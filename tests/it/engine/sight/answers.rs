//! What a viewer finds who asks: by pages, by ids and by values; and what he
//! is told where he may not know.

use std::collections::BTreeMap;

use luytre::hub::error::Reason;
use luytre::hub::{Caller, Error, Open, Start};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::query::IndicatorFilter;
use luytre::wire::proto::v1;
use prost::Message as _;
use prost::bytes::Bytes;
use uuid::Uuid;

use super::model::{ACTIVE, Model, SIGN, What};
use super::rules::For;
use super::secrets::{self, Secrets};
use super::steps::{VIEWERS, Wish};
use super::viewer::{allow_sighting, check_source, named};
use super::world::{World, slug, value};

fn said<T>(answer: Result<T, Error>) -> Result<T, (Reason, String)> {
    answer.map_err(|error| (error.reason, error.public))
}

impl Model {
    /// What a viewer finds, newest first.
    fn listed(&self, viewer: usize, filtered: bool) -> Vec<usize> {
        let asks = filtered && !self.wishes[viewer].owners.is_empty();
        let all = (0..self.records.len()).filter(|&record| {
            let now = self.now(record);
            let found = if asks {
                self.rules.told(VIEWERS[viewer], now.owner, &now.mark, For::Searching)
            } else {
                self.rules.visible(VIEWERS[viewer], now.owner, &now.mark, For::Searching)
            };
            found && now.state == ACTIVE && (!filtered || self.wanted(viewer, now))
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|&record| std::cmp::Reverse(self.records[record].versions.last().copied()));
        all
    }

    /// Checks an indicator as a viewer is shown it; which it is.
    fn check_shown(&self, viewer: usize, shown: &Bytes, purpose: For) -> usize {
        let indicator = v1::Indicator::decode(shown.clone()).expect("an indicator");
        let (record, note) = named(self, &indicator);
        let now = self.now(record);
        assert_eq!((note, indicator.state), (now.note, now.state), "the newest version");
        let source = self.shows(viewer, now, purpose);
        assert_eq!(!indicator.owner.is_empty(), source, "a source of {now:?} for {viewer}");
        check_source(now, &indicator);
        secrets::assert_within("an answer", shown, &self.secrets(now, source));
        record
    }

    fn check_told(&self, viewer: usize, record: usize, (sightings, notices): (&[Bytes], &[Bytes])) {
        let visible = |number: usize| {
            let told = &self.told[number];
            self.rules.visible(VIEWERS[viewer], told.owner, &told.mark, For::Getting)
        };
        let his = (0..self.told.len()).rev().filter(|n| self.told[*n].record == record && visible(*n));
        let (heard, hit): (Vec<_>, Vec<_>) =
            his.partition(|number| matches!(self.told[*number].what, What::Sighting { .. }));
        assert_eq!(sightings.len(), heard.len(), "the sightings of {record} for {viewer}");
        for (bytes, number) in sightings.iter().zip(heard) {
            let told = &self.told[number];
            let hides = self.hides(VIEWERS[viewer], told, self.now(told.record), For::Getting);
            let mut allowed = Secrets::new();
            allow_sighting(self, number, !hides, &mut allowed);
            secrets::assert_within("a sighting", bytes, &allowed);
        }
        let hit: Vec<_> = hit
            .into_iter()
            .filter_map(|number| match self.told[number].what {
                What::Notice { other, .. } => {
                    let told = &self.told[number];
                    let level = self.level(VIEWERS[viewer], told, self.now(other), For::Getting);
                    Some(self.names(number, level))
                }
                What::Sighting { .. } => None,
            })
            .collect();
        let mut notices: Vec<_> = notices
            .iter()
            .map(|bytes| v1::Collision::decode(bytes.clone()).unwrap())
            .map(|c| (c.other, c.other_owner))
            .collect();
        let mut hit = hit;
        notices.sort();
        hit.sort();
        assert_eq!(notices, hit, "the collisions of {record} for {viewer}");
    }
}

impl World {
    /// Asks as a viewer for all there is, and compares.
    pub(super) async fn ask(&mut self, viewer: usize, filtered: bool) {
        if !self.model.is_here(VIEWERS[viewer].0) {
            return;
        }
        self.settle().await;
        self.model.look();
        let caller = self.caller(VIEWERS[viewer]);
        self.list(&caller, viewer, filtered).await;
        self.get(&caller, viewer).await;
        self.lookup(&caller, viewer).await;
        self.use_a_foreign_token(viewer).await;
    }

    async fn list(&self, caller: &Caller, viewer: usize, filtered: bool) {
        let wish: &Wish = &self.model.wishes[viewer];
        let filter = if filtered { wish.filter() } else { IndicatorFilter::default() };
        let mut due = self.model.listed(viewer, filtered).into_iter().peekable();
        let (mut token, size) = (String::new(), usize::try_from(wish.credit).unwrap() + 1);
        let mut length = None;
        loop {
            let page = self.hub().hub.list(caller, filter.clone(), size, &token).await.unwrap();
            token = page.next_page_token;
            for shown in &page.indicators {
                let record = self.model.check_shown(viewer, shown, For::Searching);
                assert_eq!(Some(record), due.next(), "a list of {viewer}'s");
            }
            secrets::assert_within("a token", token.as_bytes(), &Secrets::new());
            assert_eq!(token.is_empty(), due.peek().is_none(), "a token says that more follows");
            if token.is_empty() {
                break;
            }
            assert_eq!(page.indicators.len(), size, "nothing hidden takes a place on a page");
            assert_eq!(*length.get_or_insert(token.len()), token.len());
        }
    }

    async fn get(&self, caller: &Caller, viewer: usize) {
        let hub = &self.hub().hub;
        let none = Uuid::new_v4();
        let absent = said(hub.get(caller, none).await).unwrap_err();
        let revocation = || Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
        let org = slug(0);
        let unexplained = said(hub.explain(caller, none, org.clone(), None).await).unwrap_err();
        let unrevoked = said(hub.revoke(caller, Uuid::new_v4(), none, revocation(), None).await).unwrap_err();
        for (number, record) in self.model.records.iter().enumerate() {
            let now = self.model.now(number);
            let own = record.owner == VIEWERS[viewer].0;
            let sees = self.model.rules.visible(VIEWERS[viewer], now.owner, &now.mark, For::Getting);
            match said(hub.get(caller, record.id).await) {
                Ok(found) => {
                    assert!(sees, "{viewer} got {now:?}");
                    assert_eq!(self.model.check_shown(viewer, &found.indicator, For::Getting), number);
                    self.model.check_told(viewer, number, (&found.sightings, &found.collisions));
                }
                Err(error) => assert_eq!((sees, error), (false, absent.clone()), "{viewer}, {now:?}"),
            }
            if !own {
                let error = said(hub.explain(caller, record.id, org.clone(), None).await).unwrap_err();
                assert_eq!(error, unexplained);
                let revoked = hub.revoke(caller, Uuid::new_v4(), record.id, revocation(), None).await;
                let error = said(revoked).unwrap_err();
                let expected = if sees { Reason::RoleInsufficient } else { unrevoked.0 };
                assert_eq!(error.0, expected);
                assert!(sees || error == unrevoked, "{error:?}");
                secrets::assert_within("an error", error.1.as_bytes(), &Secrets::new());
            }
        }
    }

    async fn lookup(&self, caller: &Caller, viewer: usize) {
        let numbers: Vec<_> = (0..6).chain([SIGN]).collect();
        let values = numbers.iter().copied().map(value).collect();
        let found = self.hub().hub.lookup(caller, values).await.unwrap();
        for (value, matches) in numbers.into_iter().zip(found) {
            let his = self.model.records.iter().enumerate().filter(|(_, record)| record.value == value);
            let due: BTreeMap<_, _> = his
                .filter_map(|(number, record)| {
                    let now = self.model.now(number);
                    let (viewer, rules) = (VIEWERS[viewer], &self.model.rules);
                    let told = rules.told(viewer, now.owner, &now.mark, For::Searching);
                    rules
                        .visible(viewer, now.owner, &now.mark, For::Searching)
                        .then(|| (record.id, (told.then(|| slug(record.owner)), now.state)))
                })
                .collect();
            let count = matches.len();
            let met: BTreeMap<_, _> = matches
                .into_iter()
                .map(|found| (found.id, (found.owner, i32::from(found.state.number()))))
                .collect();
            assert_eq!((count, met), (due.len(), due), "the matches of {value} for {viewer}");
        }
    }

    /// A token is for the organisation that it was made for.
    async fn use_a_foreign_token(&self, viewer: usize) {
        let wish = &self.model.wishes[viewer];
        let Some(token) = self.viewers[viewer].token() else { return };
        let thief = if VIEWERS[viewer].0 == 0 { (1, 0) } else { (0, 0) };
        let open = Open {
            filter: wish.filter(),
            start: Some(Start::Token(token)),
            include_sightings: wish.sightings,
            include_notices: wish.notices,
            ..Open::default()
        };
        let error = said(self.hub().stream_of(&self.caller(thief), open).await.map(drop)).unwrap_err();
        assert_eq!(error.0, Reason::ResumeTokenInvalid);
        secrets::assert_within("an error", error.1.as_bytes(), &Secrets::new());
    }
}
