//! Decides who may ask a signer, and how: a few connections, of users it knows,
//! one bounded request after another, each within its time.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::frames::{Answer, Bytes, Call, HEAD_BYTES, JournalFrame, LeafFrame, ListFrame, Malformed};
use super::frames::{HeldFrame, MAX_LIST_BYTES, RecordFrame};
use super::vault::Vault;
use crate::base::socket::Listener;
use crate::base::tasks;
use crate::pki::signing::{Error, LeafOrder, ListOrder, Signer as _};

/// Connections at once.
const CONNECTIONS: usize = 16;
/// Longest time that one request or one answer may take on the way.
const TRANSFER: Duration = Duration::from_secs(30);
/// Longest wait for what is under way when the signer stops.
const DRAIN: Duration = Duration::from_secs(30);

/// Answers on `listener` until `stop`, the users in `allowed` beside its own
/// and root. Looks for new authorities whenever `reload` moves.
pub(super) async fn serve(
    vault: Arc<Vault>,
    listener: Listener,
    allowed: BTreeSet<u32>,
    stop: CancellationToken,
    mut reload: watch::Receiver<u64>,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Ok(()) = reload.changed() => {
                let vault = Arc::clone(&vault);
                let _ = tasks::spawn_blocking(move || vault.refresh()).await;
                continue;
            }
            accepted = async {
                let place = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
                listener.accept().await.map(|stream| (stream, place))
            } => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                if let Some(uid) = stranger(&stream, &allowed) {
                    tracing::warn!(uid, "a user that the signer does not know was turned away");
                    continue;
                }
                let (vault, stop) = (Arc::clone(&vault), stop.clone());
                tasks::spawn("signer connection", async move {
                    let _place = place;
                    if let Err(error) = converse(stream, vault, stop).await {
                        tracing::debug!(%error, "a connection ended");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: others end meanwhile.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    // A signature that is written down is also handed out.
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(DRAIN, room.acquire_many(all)).await;
    Ok(())
}

/// The user behind a connection, unless it may ask.
fn stranger(stream: &UnixStream, allowed: &BTreeSet<u32>) -> Option<u32> {
    let uid = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
    let own = rustix::process::geteuid().as_raw();
    (uid != own && uid != 0 && !allowed.contains(&uid)).then_some(uid)
}

async fn converse(mut stream: UnixStream, vault: Arc<Vault>, stop: CancellationToken) -> io::Result<()> {
    loop {
        let asked = stop.run_until_cancelled(timed(read(&mut stream))).await;
        let Some(Some((call, body))) = asked.transpose()? else { return Ok(()) };
        let vault = Arc::clone(&vault);
        let answer = tasks::spawn_blocking(move || answer(&vault, call, &body)).await;
        let answer = answer.map_err(io::Error::other)?;
        timed(async {
            stream.write_all(&answer).await?;
            Ok(())
        })
        .await?;
    }
}

async fn timed<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(TRANSFER, work).await?
}

/// The next request; `None` where the connection ends.
async fn read(stream: &mut UnixStream) -> io::Result<Option<(Call, Vec<u8>)>> {
    let mut head = [0; HEAD_BYTES];
    match stream.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let too_much = || io::Error::new(io::ErrorKind::InvalidData, "an unknown or too long request");
    let (call, length) = Call::from_head(head).ok_or_else(too_much)?;
    // Grows as it arrives: a length alone reserves nothing.
    let mut body = Vec::new();
    (&mut *stream).take(length as u64).read_to_end(&mut body).await?;
    if body.len() == length { Ok(Some((call, body))) } else { Ok(None) }
}

/// The answer to one request, with its length before it.
fn answer(vault: &Vault, call: Call, body: &[u8]) -> Vec<u8> {
    let answer = ask(vault, call, body).unwrap_or_else(|error| match error {
        Error::Refused { problem } => Answer::Refused(problem),
        Error::Limited { problem } => Answer::Limited(problem),
        Error::Unavailable { problem } => Answer::Unavailable(problem),
    });
    frame(&answer)
        .or_else(|| frame(&Answer::Unavailable("its answer is too long".to_owned())))
        .unwrap_or_default()
}

fn ask(vault: &Vault, call: Call, body: &[u8]) -> Result<Answer, Error> {
    match call {
        Call::Authorities => {
            Ok(Answer::Authorities(vault.authorities()?.iter().map(HeldFrame::from).collect()))
        }
        Call::SignLeaf => {
            let order: LeafOrder = parsed::<LeafFrame>(body)?.try_into().map_err(malformed)?;
            Ok(Answer::Signed(Bytes(vault.sign_leaf(&order)?.to_vec())))
        }
        Call::SignList => {
            let order: ListOrder = parsed::<ListFrame>(body)?.try_into().map_err(malformed)?;
            Ok(Answer::Signed(Bytes(vault.sign_list(&order)?.to_vec())))
        }
        Call::Journal => {
            let after = parsed::<JournalFrame>(body)?.after;
            Ok(Answer::Journal(vault.journal(after)?.iter().map(RecordFrame::from).collect()))
        }
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|_| malformed(Malformed))
}

fn malformed(malformed: Malformed) -> Error {
    Error::Refused { problem: malformed.to_string() }
}

fn frame(answer: &Answer) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, answer).ok()?;
    let length = frame.len() - 4;
    let head = u32::try_from(length).ok().filter(|_| length <= MAX_LIST_BYTES)?;
    frame.get_mut(..4)?.copy_from_slice(&head.to_be_bytes());
    Some(frame)
}
