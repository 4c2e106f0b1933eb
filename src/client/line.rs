//! Decides when a channel gives way to the next one: as soon as a renewed
//! certificate has shaken hands, and while the old one still works.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Uri;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use crate::base::{random, tasks};

use super::backoff::Backoff;
use super::error::chain;
use super::identity::Identity;

/// How often files are looked at, beside every new connection.
const LOOK: Duration = Duration::from_secs(30);
/// Patience with a hub that does not take the renewed certificate: the old
/// connection goes on meanwhile.
const AGAIN: Backoff =
    Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60), tries: None };

/// The channel that new calls take. Streams learn here that there is a newer
/// one; the old connection closes when the last of them has left it.
pub(super) struct Line {
    channel: ArcSwap<Channel>,
    /// Channels before this one.
    number: watch::Sender<u64>,
    mover: Option<JoinHandle<()>>,
}

impl Line {
    /// A channel that stays.
    pub(super) fn fixed(channel: Channel) -> Arc<Self> {
        Arc::new(Self { channel: ArcSwap::from_pointee(channel), number: watch::Sender::new(0), mover: None })
    }

    /// A channel that follows an identity. Must be called on a tokio runtime.
    pub(super) fn following<C>(endpoint: Endpoint, connector: C, identity: Identity) -> Arc<Self>
    where
        C: tower::Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: hyper::rt::Read + hyper::rt::Write + Send + Unpin,
        C::Future: Send,
        tonic::codegen::StdError: From<C::Error>,
        C::Error: Send,
    {
        let channel = endpoint.connect_with_connector_lazy(connector.clone());
        let changes = identity.changes();
        Arc::new_cyclic(|line| Self {
            channel: ArcSwap::from_pointee(channel),
            number: watch::Sender::new(0),
            mover: Some(tasks::spawn(
                "identity",
                follow(Weak::clone(line), endpoint, connector, identity, changes),
            )),
        })
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel.load().as_ref().clone()
    }

    /// Where a stream stands that is opened now; taken before its channel.
    pub(super) fn place(&self) -> Place {
        let mut number = self.number.subscribe();
        number.mark_unchanged();
        Place(number)
    }

    fn replace(&self, channel: Channel) {
        self.channel.store(Arc::new(channel));
        self.number.send_modify(|number| *number += 1);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(mover) = &self.mover {
            mover.abort();
        }
    }
}

/// Tells a stream whether its channel has given way to a newer one.
#[derive(Debug, Clone)]
pub(super) struct Place(watch::Receiver<u64>);

impl Place {
    pub(super) fn is_left(&self) -> bool {
        self.0.has_changed().unwrap_or(false)
    }

    /// Waits until there is a newer channel; for ever where none comes.
    pub(super) async fn left(&mut self) {
        // The change stays unseen: who asks again is told again.
        if self.0.changed().await.is_ok() {
            self.0.mark_changed();
        } else {
            std::future::pending().await
        }
    }
}

/// Makes a new connection for each renewed certificate and, once it stands,
/// puts it in the place of the old one.
async fn follow<C>(
    line: Weak<Line>,
    endpoint: Endpoint,
    connector: C,
    identity: Identity,
    mut changes: watch::Receiver<u64>,
) where
    C: tower::Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: hyper::rt::Read + hyper::rt::Write + Send + Unpin,
    C::Future: Send,
    tonic::codegen::StdError: From<C::Error>,
    C::Error: Send,
{
    loop {
        next_change(&identity, &mut changes).await;
        let mut tried = 0;
        loop {
            // What changes from here on is another renewal.
            changes.mark_unchanged();
            match endpoint.connect_with_connector(connector.clone()).await {
                Ok(channel) => {
                    let Some(line) = line.upgrade() else { return };
                    line.replace(channel);
                    tracing::info!("the connection moved over to the renewed certificate");
                    break;
                }
                Err(error) => {
                    tracing::warn!(
                        cause = chain(&error),
                        "no connection with the renewed certificate yet; the old one goes on"
                    );
                    tokio::time::sleep(AGAIN.delay(tried, random::u64())).await;
                    tried = tried.saturating_add(1);
                }
            }
        }
    }
}

/// Waits until the identity shows another certificate.
async fn next_change(identity: &Identity, changes: &mut watch::Receiver<u64>) {
    while let Err(_) | Ok(Err(_)) = tokio::time::timeout(LOOK, changes.changed()).await {
        let files = identity.clone();
        // Files that cannot be used are reported by the next connection.
        let _ = tasks::spawn_blocking(move || files.reload()).await;
    }
}
