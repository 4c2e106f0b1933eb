//! Decides how batches are pipelined over one stream: a bounded window of
//! unanswered ones, answers in order, and after a break the unanswered again,
//! as they were.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::backoff::{Backoff, Tries};
use super::calls::check_count;
use super::error::{Error, cause};
use super::line::Place;

/// Longest wait for the answer to the oldest batch before the stream counts as
/// broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// Cut connections in a row before a stream gives up.
pub(super) const CUTS: u32 = 4;

/// A bidirectional call whose answers come one per request, in order.
pub(super) trait Call: Send {
    /// A batch.
    type Request: Clone + Send + 'static;
    /// The answer to a batch.
    type Answer: Send + 'static;

    /// The connection that a stream takes which is opened now.
    fn place(&self) -> Place;

    /// Opens the stream.
    fn open(
        &self,
        requests: Requests<Self::Request>,
    ) -> impl Future<Output = Result<Streaming<Self::Answer>, Status>> + Send;

    /// Number of items in a request.
    fn asked(request: &Self::Request) -> usize;

    /// Number of verdicts in an answer.
    fn answered(answer: &Self::Answer) -> usize;
}

/// Batches sent and not yet answered, oldest first.
#[derive(Debug)]
pub(super) struct Window<R> {
    unanswered: VecDeque<R>,
    size: usize,
}

impl<R: Clone> Window<R> {
    pub(super) const fn new(size: usize) -> Self {
        Self { unanswered: VecDeque::new(), size }
    }

    pub(super) fn is_full(&self) -> bool {
        self.unanswered.len() >= self.size
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unanswered.is_empty()
    }

    pub(super) fn push(&mut self, request: R) {
        debug_assert!(!self.is_full(), "the caller makes room first");
        self.unanswered.push_back(request);
    }

    /// The batch that the next answer is about.
    pub(super) fn answer(&mut self) -> Option<R> {
        self.unanswered.pop_front()
    }

    /// What a new stream must begin with.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = R> {
        self.unanswered.iter().cloned()
    }
}

/// What is sent on one stream. It ends by itself where the connection gives way
/// to that of a renewed certificate, even if nobody waits for an answer: the
/// hub answers what it has, and the old connection can close.
pub(super) struct Requests<R> {
    queued: ReceiverStream<R>,
    /// None: it has ended.
    left: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<R: Send + 'static> Requests<R> {
    fn new(queued: mpsc::Receiver<R>, mut place: Place) -> Self {
        Self { queued: ReceiverStream::new(queued), left: Some(Box::pin(async move { place.left().await })) }
    }
}

impl<R> Stream for Requests<R> {
    type Item = R;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<R>> {
        let Some(left) = &mut self.left else { return Poll::Ready(None) };
        if left.as_mut().poll(cx).is_ready() {
            // What is queued stays unanswered, and begins the next stream.
            self.left = None;
            self.queued.close();
            return Poll::Ready(None);
        }
        Pin::new(&mut self.queued).poll_next(cx)
    }
}

struct Live<C: Call> {
    requests: mpsc::Sender<C::Request>,
    answers: Streaming<C::Answer>,
    place: Place,
}

/// A window over a stream that is opened again when it breaks.
pub(super) struct Pipeline<C: Call> {
    call: C,
    hub: String,
    window: Window<C::Request>,
    live: Option<Live<C>>,
    tries: Tries,
    /// Longest wait for the first answer, retries included.
    deadline: Duration,
    /// Whether the hub ever answered: from then on it is worth waiting for.
    answered: bool,
    /// Why the last try failed.
    last: Option<String>,
}

impl<C: Call> Pipeline<C> {
    pub(super) const fn new(
        call: C,
        hub: String,
        window: usize,
        backoff: Backoff,
        deadline: Duration,
    ) -> Self {
        let window = if window == 0 { 1 } else { window };
        Self {
            call,
            hub,
            window: Window::new(window),
            live: None,
            tries: Tries::new(backoff, CUTS),
            deadline,
            answered: false,
            last: None,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.window.is_full()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.window.is_empty()
    }

    /// Sends a batch. There must be room in the window.
    pub(super) fn send(&mut self, request: C::Request) {
        self.window.push(request.clone());
        if let Some(live) = &self.live {
            // The channel holds a whole window, so it is never full. If it is
            // closed, the hub's last words say why, and the batch stays in the
            // window for the next stream.
            let _ = live.requests.try_send(request);
        }
    }

    /// Waits for the answer to the oldest batch; `None` if none is due.
    /// Nothing is lost if the future is dropped.
    pub(super) async fn receive(&mut self) -> Result<Option<(C::Request, C::Answer)>, Error> {
        if self.answered {
            return self.receive_patiently().await;
        }
        let deadline = self.deadline;
        tokio::time::timeout(deadline, self.receive_patiently()).await.unwrap_or_else(|_| {
            Err(Error::Timeout { hub: self.hub.clone(), after: deadline, last: self.last.take() })
        })
    }

    async fn receive_patiently(&mut self) -> Result<Option<(C::Request, C::Answer)>, Error> {
        while !self.window.is_empty() {
            let status = match self.next_answer().await {
                Ok(answer) => {
                    self.tries.progress();
                    self.answered = true;
                    let Some(request) = self.window.answer() else { break };
                    check_count(C::asked(&request), C::answered(&answer))?;
                    return Ok(Some((request, answer)));
                }
                Err(status) => status,
            };
            self.live = None;
            let delay = self.tries.after(&status, &self.hub)?;
            tracing::warn!(hub = %self.hub, cause = cause(&status), "the stream broke; opening it again");
            self.last = Some(cause(&status));
            tokio::time::sleep(delay).await;
        }
        Ok(None)
    }

    /// Ends the stream as both sides expect it: nothing more is sent, and the
    /// hub's last word is heard, within the deadline. Every answer that was
    /// due is in hand, so that a stream that breaks now loses nothing.
    pub(super) async fn end(&mut self) {
        debug_assert!(self.is_empty(), "the caller has received every answer");
        let Some(Live { requests, mut answers, .. }) = self.live.take() else { return };
        drop(requests);
        let ended = async { while let Ok(Some(_)) = answers.message().await {} };
        if tokio::time::timeout(self.deadline, ended).await.is_err() {
            tracing::debug!(hub = %self.hub, "the hub did not end the stream");
        }
    }

    async fn next_answer(&mut self) -> Result<C::Answer, Status> {
        let answer = async {
            let live = match &mut self.live {
                Some(live) => live,
                none => none.insert(open(&self.call, &self.window).await?),
            };
            if let Some(answer) = live.answers.message().await? {
                return Ok(answer);
            }
            if live.place.is_left() {
                // It ended because the certificate was renewed: on over the
                // new connection with what is unanswered.
                self.live = None;
                let live = self.live.insert(open(&self.call, &self.window).await?);
                if let Some(answer) = live.answers.message().await? {
                    return Ok(answer);
                }
            }
            Err(Status::unavailable("the hub ended the stream"))
        };
        tokio::time::timeout(PATIENCE, answer)
            .await
            .unwrap_or_else(|_| Err(Status::unavailable("no answer to the oldest batch")))
    }
}

/// Opens a stream that begins with the unanswered batches.
async fn open<C: Call>(call: &C, window: &Window<C::Request>) -> Result<Live<C>, Status> {
    let place = call.place();
    let (requests, queued) = mpsc::channel(window.size);
    for request in window.unanswered() {
        if requests.try_send(request).is_err() {
            return Err(Status::internal("the window is larger than its channel"));
        }
    }
    let answers = call.open(Requests::new(queued, place.clone())).await?;
    Ok(Live { requests, answers, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_repeats_exactly_the_unanswered_in_order() {
        let mut window = Window::new(3);
        window.push("a");
        window.push("b");
        assert!(!window.is_full());
        window.push("c");
        assert!(window.is_full());
        assert_eq!(window.answer(), Some("a"));
        assert_eq!(window.unanswered().collect::<Vec<_>>(), ["b", "c"]);
        window.push("d");
        assert_eq!(window.unanswered().collect::<Vec<_>>(), ["b", "c", "d"]);
    }

    #[test]
    fn an_answer_nobody_asked_for_answers_nothing() {
        let mut window = Window::<u8>::new(1);
        assert_eq!(window.answer(), None);
        assert!(window.is_empty());
    }
}
