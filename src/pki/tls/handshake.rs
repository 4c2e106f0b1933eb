//! Decides how two sides shake hands in memory, as they would over a network.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConnection};

use super::{Error, Snapshot};

/// More flights than any TLS 1.3 handshake has.
const MAX_FLIGHTS: usize = 16;

/// Runs a whole handshake between `client` and `snapshot` in memory.
///
/// # Errors
/// What either side has against the other: the hub's verdict on the client's
/// certificate, or the client's on the hub's.
pub fn shake_hands(
    snapshot: &Snapshot,
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<(), Error> {
    let mut client = ClientConnection::new(client, name)?;
    let mut server = ServerConnection::new(Arc::clone(snapshot.server()))?;
    for _ in 0..MAX_FLIGHTS {
        if !client.is_handshaking()
            && !server.is_handshaking()
            && !client.wants_write()
            && !server.wants_write()
        {
            return Ok(());
        }
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).map_err(in_memory)?;
        }
        let mut unread = flight.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).map_err(in_memory)?;
            server.process_new_packets()?;
        }
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).map_err(in_memory)?;
        }
        let mut unread = flight.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).map_err(in_memory)?;
            client.process_new_packets()?;
        }
    }
    Err(Error::Tls(rustls::Error::HandshakeNotComplete))
}

fn in_memory(error: std::io::Error) -> Error {
    Error::Tls(rustls::Error::General(error.to_string()))
}
