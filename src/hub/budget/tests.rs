//! The promises of limits: what one uses up, and what others still have.

use super::*;

/// A stopwatch that is moved by hand.
#[derive(Debug, Default)]
struct Hand(Mutex<Duration>);

impl Stopwatch for Hand {
    fn elapsed(&self) -> Duration {
        *self.0.lock()
    }
}

const NONE: Duration = Duration::ZERO;

fn budgets(quota: Quota, principal_percent: u32) -> (Arc<Hand>, Arc<Budgets>) {
    let hand = Arc::new(Hand::default());
    let quotas = Quotas { organisation: quota, principal_percent, ..Quotas::default() };
    (Arc::clone(&hand), Budgets::new(quotas, hand))
}

fn account(budgets: &Arc<Budgets>, who: &str) -> Account {
    budgets.account(&SpiffeId::parse(&format!("spiffe://test.example/org/{who}")).unwrap())
}

#[test]
fn what_one_organisation_uses_up_another_still_has() {
    let (hand, budgets) = budgets(Quota { items: 10, ..Quota::default() }, 100);
    let (feed, soc) = (account(&budgets, "a/system/feed"), account(&budgets, "a/system/soc"));
    feed.charge(Rate::Items, 100, NONE).unwrap();
    let refused = soc.charge(Rate::Items, 15, NONE).unwrap_err();
    assert_eq!(refused.retry_after, Some(Duration::from_secs(2)));
    assert_eq!(refused.exceeded.unwrap().subject, "organisations/a");
    account(&budgets, "b/system/feed").charge(Rate::Items, 100, NONE).unwrap();
    feed.charge(Rate::Bytes, 100, NONE).unwrap();
    *hand.0.lock() = Duration::from_millis(1_500);
    soc.charge(Rate::Items, 15, NONE).unwrap();
}

#[test]
fn one_principal_leaves_the_others_of_its_organisation_their_share() {
    let (_hand, budgets) = budgets(Quota { items: 10, streams: 2, ..Quota::default() }, 50);
    let (feed, soc) = (account(&budgets, "a/system/feed"), account(&budgets, "a/system/soc"));
    feed.charge(Rate::Items, 50, NONE).unwrap();
    let refused = feed.charge(Rate::Items, 1, NONE).unwrap_err();
    let Exceeded { subject, limit, most } = refused.exceeded.unwrap();
    assert_eq!(
        (subject.as_str(), limit, most),
        ("spiffe://test.example/org/a/system/feed", "items_per_second", 5)
    );
    soc.charge(Rate::Items, 50, NONE).unwrap();
    let held = feed.open_stream().unwrap();
    assert!(feed.open_stream().is_err());
    let _other = soc.open_stream().unwrap();
    drop(held);
    feed.open_stream().unwrap();
}

#[test]
fn what_was_used_stays_used_when_limits_change_and_is_worth_no_more_than_it_was() {
    let (_hand, budgets) = budgets(Quota { items: 10, streams: 1, ..Quota::default() }, 100);
    let feed = account(&budgets, "a/system/feed");
    feed.charge(Rate::Items, 60, NONE).unwrap();
    let _open = feed.open_stream().unwrap();
    let organisation = Quota { items: 100, streams: 2, ..Quota::default() };
    assert!(budgets.set(Quotas { organisation, ..Quotas::default() }));
    assert!(!budgets.set(Quotas { organisation, ..Quotas::default() }), "they are the same");
    let left = || feed.allowances().into_iter().find(|told| told.limit == "items_per_second").unwrap();
    assert_eq!((left().most, left().left), (100, Some(940)));
    let _another = feed.open_stream().unwrap();
    assert_eq!(feed.open_stream().unwrap_err().exceeded.unwrap().most, 2);
    let organisation = Quota { items: 6, ..organisation };
    budgets.set(Quotas { organisation, ..Quotas::default() });
    assert_eq!((left().most, left().left), (6, Some(0)));
    let new = account(&budgets, "b/system/feed");
    assert_eq!(new.allowances()[0].most, 6);
}

#[test]
fn who_has_patience_is_slowed_down_and_a_refusal_costs_nothing() {
    let (_hand, budgets) = budgets(Quota { items: 10, ..Quota::default() }, 100);
    let feed = account(&budgets, "a/system/feed");
    feed.charge(Rate::Items, 100, NONE).unwrap();
    for _ in 0..5 {
        feed.charge(Rate::Items, 1, NONE).unwrap_err();
    }
    assert_eq!(feed.charge(Rate::Items, 20, PATIENCE).unwrap(), Duration::from_secs(2));
    assert_eq!(feed.charge(Rate::Items, 20, PATIENCE).unwrap(), Duration::from_secs(4));
    feed.charge(Rate::Items, 80, PATIENCE).unwrap_err();
    let refused: u64 = budgets.refusals.lock().values().sum();
    assert_eq!(refused, 6);
}

#[test]
fn reading_is_charged_when_it_is_over_and_by_whole_steps() {
    let (hand, budgets) = budgets(Quota { reading: 1_000, ..Quota::default() }, 100);
    let feed = account(&budgets, "a/system/feed");
    let read = |millis| {
        let reading = feed.reading();
        *hand.0.lock() += Duration::from_millis(millis);
        drop(reading);
    };
    read(19);
    assert!(feed.organisation.used.lock().buckets.iter().all(|bucket| *bucket == Bucket::default()));
    read(20);
    let of_one = *feed.organisation.used.lock().of(Rate::Reading);
    *hand.0.lock() = Duration::from_secs(100);
    read(39);
    let now = feed.budgets.watch.elapsed();
    assert_eq!(of_one.left(1_000, Duration::from_millis(39)), 0);
    feed.charge(Rate::Reading, 0, NONE).unwrap_err();
    assert_eq!(feed.organisation.used.lock().of(Rate::Reading).wait(1_000, 0, now).as_secs(), 10);
    assert!(feed.allowances().iter().all(|told| told.left.is_some() == (told.limit != "reading_per_second")));
}

#[test]
fn purses_that_nobody_needs_are_forgotten() {
    let (hand, budgets) = budgets(Quota { items: 10, ..Quota::default() }, 100);
    let held = account(&budgets, "a/system/held");
    account(&budgets, "a/system/used").charge(Rate::Items, 10, NONE).unwrap();
    for number in 2..PURSES {
        account(&budgets, &format!("a/system/s{number}"));
    }
    let known = |budgets: &Budgets| budgets.principals.0.lock().0.len();
    assert_eq!(known(&budgets), PURSES);
    account(&budgets, "a/system/new");
    assert_eq!(known(&budgets), 3, "who holds it, who used it, who came");
    *hand.0.lock() = Duration::from_secs(60);
    drop(held);
}
