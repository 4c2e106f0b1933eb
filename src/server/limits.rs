//! Decides how much of everything one listener allows.

use std::time::Duration;

/// How much of everything one listener allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest silence from the accepted socket to the client's whole hello.
    pub hello_deadline: Duration,
    /// Longest handshake, from the hello to the client's proof.
    pub handshake_deadline: Duration,
    /// Most handshakes at once.
    pub max_handshakes: usize,
    /// Longest wait for one of those.
    pub handshake_queue: Duration,
    /// How long a handshake takes that a client far away means well: until
    /// then it makes way for nobody.
    pub handshake_grace: Duration,
    /// Most connections at once that have not finished the handshake.
    pub max_pending: usize,
    /// Most connections at once that have.
    pub max_connections: usize,
    /// Most connections of both kinds at once from one address, or /64 of
    /// IPv6; four times that from one /48.
    pub max_connections_per_source: usize,
    /// Most connections at once from one of those that have not finished the
    /// handshake.
    pub max_handshakes_per_source: usize,
    /// Most calls at once on a connection.
    pub max_concurrent_streams: u32,
    /// How often an idle connection is probed.
    pub keepalive_interval: Duration,
    /// How long the answer to a probe may take.
    pub keepalive_timeout: Duration,
    /// Most bytes of headers in a call.
    pub max_header_list_bytes: u32,
    /// Bytes in flight to the hub on one call.
    pub stream_window_bytes: u32,
    /// Bytes in flight to the hub on one connection.
    pub connection_window_bytes: u32,
    /// Largest HTTP/2 frame that the hub takes.
    pub max_frame_bytes: u32,
    /// Most bytes buffered for one call to the client.
    pub max_send_buffer_bytes: usize,
    /// Most calls that were reset before they were seen (rapid reset).
    pub max_pending_accept_reset_streams: usize,
    /// Most calls that the hub itself reset over the peer's errors.
    pub max_local_error_reset_streams: usize,
    /// Longest time from the handshake to the first call.
    pub first_call: Duration,
    /// Greatest age of a connection, give or take a tenth; none if absent.
    pub max_age: Option<Duration>,
    /// How long open calls may go on past the greatest age.
    pub age_grace: Duration,
    /// How long a client may take to close a connection that was ended.
    pub sever_grace: Duration,
    /// How long the last words may take to leave on a connection whose
    /// certificate is no longer good.
    pub revoked_grace: Duration,
    /// How long open calls may go on once the hub drains.
    pub drain_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hello_deadline: Duration::from_secs(3),
            handshake_deadline: Duration::from_secs(10),
            max_handshakes: 256,
            handshake_queue: Duration::from_secs(2),
            handshake_grace: Duration::from_millis(750),
            max_pending: 1024,
            max_connections: 4096,
            max_connections_per_source: 1024,
            max_handshakes_per_source: 128,
            max_concurrent_streams: 256,
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
            max_header_list_bytes: 16 * 1024,
            stream_window_bytes: 1024 * 1024,
            connection_window_bytes: 4 * 1024 * 1024,
            max_frame_bytes: 128 * 1024,
            max_send_buffer_bytes: 1024 * 1024,
            max_pending_accept_reset_streams: 20,
            max_local_error_reset_streams: 256,
            first_call: Duration::from_secs(30),
            max_age: None,
            age_grace: Duration::from_secs(60),
            sever_grace: Duration::from_secs(2),
            revoked_grace: Duration::from_millis(500),
            drain_deadline: Duration::from_secs(20),
        }
    }
}
