//! Decides how many questions the systems of one organisation may ask at once,
//! so that none takes the places for reads from the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::hub::budget::{Account, PATIENCE, Reading};
use crate::hub::caller::Caller;
use crate::hub::error::{Error, Reason};
use crate::hub::shared::{MAX_READS, Shared};
use crate::model::org::OrgNo;
use crate::policy::limits::Rate;

/// Most questions of one organisation: a quarter of the places there are.
const MAX_QUESTIONS: usize = MAX_READS / 4;
/// Most of them that are for work that waits its turn: whoever waits is served
/// before whoever asks, and is not to leave him nothing.
const MAX_TURNS: usize = MAX_QUESTIONS / 2;
/// When to ask again: some question may have been answered by then.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The places for questions of each organisation that ever asked one.
#[derive(Debug, Default)]
pub struct Questions(Mutex<HashMap<OrgNo, Places>>);

#[derive(Debug, Clone)]
struct Places {
    all: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// The place of one question, given back when dropped.
#[derive(Debug)]
pub(in crate::hub) struct Turn {
    _permit: OwnedSemaphorePermit,
    _turn: Option<OwnedSemaphorePermit>,
    _reading: Option<Reading>,
}

impl Questions {
    fn of(&self, organisation: OrgNo) -> Places {
        let places = |most| Arc::new(Semaphore::new(most));
        let new = || Places { all: places(MAX_QUESTIONS), turns: places(MAX_TURNS) };
        self.0.lock().entry(organisation).or_insert_with(new).clone()
    }

    fn ask(&self, organisation: OrgNo) -> Result<Turn, Error> {
        let place = self.of(organisation).all.try_acquire_owned();
        place.map(|permit| Turn { _permit: permit, _turn: None, _reading: None }).map_err(|_| Error {
            retry_after: Some(RETRY_AFTER),
            ..Error::new(
                Reason::RateLimited,
                format!(
                    "your organisation asks {MAX_QUESTIONS} questions at once, which is the most; wait for an answer"
                ),
            )
        })
    }

    /// A place for a stretch of work that has begun and is not to fail for want
    /// of one, when its turn comes: who came first has the first that is free.
    /// It is waited for as long as the future is kept.
    ///
    /// # Errors
    /// None that is known of.
    pub(in crate::hub) async fn turn(&self, organisation: OrgNo) -> Result<Turn, Error> {
        let Places { all, turns } = self.of(organisation);
        let turn = turns.acquire_owned().await.map_err(Error::internal)?;
        let permit = all.acquire_owned().await.map_err(Error::internal)?;
        Ok(Turn { _permit: permit, _turn: Some(turn), _reading: None })
    }
}

impl Shared {
    /// Runs blocking `work` as [`Self::read`] does, for a question about history
    /// by `caller`, who is charged for the time that it takes. The place is the work's own, though its
    /// caller goes away.
    ///
    /// # Errors
    /// `RATE_LIMITED` where the organisation asks too much at once, or had too
    /// much read of late, or what the work answers.
    pub async fn question<T: Send + 'static>(
        self: &Arc<Self>,
        caller: &Caller,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.question_after(caller, std::future::ready(()), work).await
    }

    /// The same, for work that has to wait for something first, which nobody
    /// causes who has no budget left.
    ///
    /// # Errors
    /// Those of [`Self::question`].
    pub(in crate::hub) async fn question_after<T: Send + 'static>(
        self: &Arc<Self>,
        caller: &Caller,
        first: impl Future<Output = ()>,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let account = self.budgets.account(caller.identity());
        account.charge(Rate::Reading, 0, Duration::ZERO)?;
        let place = self.questions.ask(caller.org())?;
        first.await;
        self.read(move |shared| {
            let _place = Turn { _reading: Some(account.reading()), ..place };
            work(shared)
        })
        .await
    }
}

impl Shared {
    /// A place for a stretch of an export, as [`Questions::turn`] gives it. Who
    /// had too much read of late waits for it a while longer.
    ///
    /// # Errors
    /// `RATE_LIMITED` once that is too long.
    pub(in crate::hub) async fn turn(&self, organisation: OrgNo, account: &Account) -> Result<Turn, Error> {
        account.pay(Rate::Reading, 0, PATIENCE).await?;
        let turn = self.questions.turn(organisation).await?;
        Ok(Turn { _reading: Some(account.reading()), ..turn })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::hub::error::Kind;

    #[test]
    fn one_organisation_takes_a_quarter_of_the_places_and_gives_them_back() {
        let questions = Questions::default();
        let taken = |questions: &Questions| MAX_QUESTIONS - questions.of(OrgNo(1)).all.available_permits();
        let places: Vec<_> = (0..MAX_QUESTIONS).map(|_| questions.ask(OrgNo(1)).unwrap()).collect();
        let refused = questions.ask(OrgNo(1)).unwrap_err();
        assert_eq!((refused.kind(), refused.retry_after), (Kind::Limited, Some(RETRY_AFTER)));
        assert!(questions.ask(OrgNo(2)).is_ok(), "another organisation has its own");
        assert_eq!(taken(&questions), MAX_QUESTIONS);
        drop(places);
        assert_eq!(taken(&questions), 0);
        assert!(questions.ask(OrgNo(1)).is_ok());
    }

    #[test]
    fn whoever_waits_has_the_first_place_that_is_given_back_and_goes_away_without_a_trace() {
        let questions = Questions::default();
        let mut places: Vec<_> = (0..MAX_QUESTIONS).map(|_| questions.ask(OrgNo(1)).unwrap()).collect();
        let mut first = Box::pin(questions.turn(OrgNo(1)));
        let mut second = Box::pin(questions.turn(OrgNo(1)));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        places.pop();
        assert!(questions.ask(OrgNo(1)).is_err(), "it is for whoever waits");
        drop(first);
        assert!(second.now_or_never().is_some_and(|turn| turn.is_ok()));
        assert!(questions.ask(OrgNo(1)).is_ok());
    }

    #[test]
    fn however_many_wait_their_turn_questions_find_a_place() {
        let questions = Questions::default();
        let turn = || Box::pin(questions.turn(OrgNo(1)));
        let _turns: Vec<_> = (0..MAX_TURNS).map(|_| turn().now_or_never().unwrap().unwrap()).collect();
        let mut waiting: Vec<_> = (0..MAX_QUESTIONS).map(|_| turn()).collect();
        assert!(waiting.iter_mut().all(|turn| turn.as_mut().now_or_never().is_none()));
        let places: Vec<_> = (MAX_TURNS..MAX_QUESTIONS).map(|_| questions.ask(OrgNo(1)).unwrap()).collect();
        drop(places);
        assert!(questions.ask(OrgNo(1)).is_ok(), "nobody waits for what was given back");
    }
}
