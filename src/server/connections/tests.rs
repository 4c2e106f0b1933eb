//! What the table of connections promises about places and sources.

use std::time::Duration;

use super::*;

fn limits() -> Limits {
    Limits {
        max_connections: 3,
        max_pending: 3,
        max_connections_per_source: 2,
        max_handshakes_per_source: 2,
        ..Limits::default()
    }
}

fn table() -> Arc<Connections> {
    Arc::new(Connections::new(&limits()))
}

#[test]
fn one_source_cannot_take_every_place() {
    let many = usize::MAX;
    for limits in [
        Limits { max_connections_per_source: many, ..limits() },
        Limits { max_handshakes_per_source: many, ..limits() },
    ] {
        let all = table();
        let greedy = IpAddr::from([192, 0, 2, 1]);
        let _two = [all.admit(greedy, &limits).unwrap(), all.admit(greedy, &limits).unwrap()];
        assert_eq!(all.admit(greedy, &limits).unwrap_err(), Refused::SourceSaturated);
        assert!(all.admit(IpAddr::from([192, 0, 2, 2]), &limits).is_ok());
    }
}

#[test]
fn one_network_of_version_six_is_one_source() {
    let all = table();
    let host = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
    let _two = [all.admit(host(1), &limits()).unwrap(), all.admit(host(2), &limits()).unwrap()];
    assert_eq!(all.admit(host(3), &limits()).unwrap_err(), Refused::SourceSaturated);
}

#[test]
fn a_place_is_free_again_once_left() {
    let all = table();
    for last in 0..100_u8 {
        drop(all.admit(IpAddr::from([192, 0, 2, last]), &limits()).unwrap());
    }
    assert_eq!(all.total(), 0);
    assert!(all.state.lock().networks.is_empty());
}

#[test]
fn a_site_of_version_six_cannot_take_every_place_by_its_many_networks() {
    let all = table();
    let limits = Limits { max_pending: 100, ..limits() };
    let host = |site: u16, network: u16| IpAddr::from([0x2001, 0xdb8, site, network, 0, 0, 0, 1]);
    let _places: Vec<_> = (0..8).map(|network| all.admit(host(1, network), &limits).unwrap()).collect();
    assert_eq!(all.admit(host(1, 8), &limits).unwrap_err(), Refused::SourceSaturated);
    assert!(all.admit(host(2, 0), &limits).is_ok());
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_the_one_that_was_silent_for_longest() {
    let all = table();
    let mut places: Vec<_> =
        (0..3_u8).map(|last| all.admit(IpAddr::from([192, 0, 2, last]), &limits()).unwrap()).collect();
    assert!(places[0].hear().await);
    places.push(all.admit(IpAddr::from([192, 0, 2, 9]), &limits()).unwrap());
    assert_eq!(all.total(), 3);
    places[1].displaced().await;
    assert!(!places[1].hear().await);
    for kept in [2, 3] {
        assert!(places[kept].hear().await);
    }
    drop(places);
    assert_eq!(all.total(), 0);
    assert!(all.state.lock().networks.is_empty());
}

#[tokio::test]
async fn those_who_have_said_hello_are_not_displaced_within_their_grace() {
    let all = table();
    let mut places: Vec<_> =
        (0..3_u8).map(|last| all.admit(IpAddr::from([192, 0, 2, last]), &limits()).unwrap()).collect();
    for place in &mut places {
        assert!(place.hear().await);
    }
    let late = all.admit(IpAddr::from([192, 0, 2, 9]), &limits());
    assert_eq!(late.unwrap_err(), Refused::HandshakesSaturated);
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_a_handshake_that_does_not_go_on() {
    let limits = Limits { handshake_grace: Duration::ZERO, ..limits() };
    let all = Arc::new(Connections::new(&limits));
    let mut places: Vec<_> =
        (0..3_u8).map(|last| all.admit(IpAddr::from([192, 0, 2, last]), &limits).unwrap()).collect();
    for place in &mut places {
        assert!(place.hear().await);
    }
    assert!(places[1].keep());
    for (gone, last) in [(0, 8), (2, 9)] {
        let mut newcomer = all.admit(IpAddr::from([192, 0, 2, last]), &limits).unwrap();
        places[gone].displaced().await;
        assert!(!places[gone].keep());
        assert!(newcomer.hear().await);
        assert_eq!(all.total(), 3);
        assert!(newcomer.keep());
        places.push(newcomer);
    }
    drop(places);
    assert_eq!(all.total(), 0);
    assert!(all.state.lock().networks.is_empty());
}

#[tokio::test]
async fn whoever_waits_has_his_turn_once_another_is_done() {
    let limits = Limits { max_handshakes: 1, ..limits() };
    let all = Arc::new(Connections::new(&limits));
    let mut first = all.admit(IpAddr::from([192, 0, 2, 1]), &limits).unwrap();
    let mut second = all.admit(IpAddr::from([192, 0, 2, 2]), &limits).unwrap();
    assert!(first.hear().await);
    let mut waiting = std::pin::pin!(second.hear());
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    drop(first);
    assert!(waiting.await);
}
