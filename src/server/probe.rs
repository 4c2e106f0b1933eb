//! Decides how the machine asks a running hub whether it is ready: by one
//! request to `/readyz`, where the hub's own configuration says it listens.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::Ready;
use super::config::{self, Config};

/// Longest wait for the connection, and for each part of the answer. The hub's
/// own probe gives up after five seconds.
const PATIENCE: Duration = Duration::from_secs(8);

/// Most of an answer that is read, in bytes.
const MAX_ANSWER: u64 = 16 * 1024;

/// Why the hub is not known to be ready.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Nobody says where the hub listens.
    #[error("http.listen takes any free port, and {problem}; set ready_file, or a fixed port")]
    Nowhere {
        /// Why the port is not known.
        problem: String,
    },
    /// The hub does not answer.
    #[error("no hub answers at {address}: {source}")]
    Silent {
        /// Where it should.
        address: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },
    /// The hub says that it is not ready, and why.
    #[error("the hub at {address} answers: {answer}")]
    NotReady {
        /// Where it was asked.
        address: SocketAddr,
        /// What it said.
        answer: String,
    },
}

/// Asks the hub of the configuration at `path`; returns what it answered.
///
/// # Errors
/// It does not answer, or is not ready.
pub fn ask(path: &Path) -> Result<String, Error> {
    let address = address(&Config::load(path)?)?;
    let answer = fetch(address).map_err(|source| Error::Silent { address, source })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let answer = body.trim().to_owned();
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(answer),
        _ => Err(Error::NotReady { address, answer }),
    }
}

/// Where a process of the same machine reaches the hub's HTTP.
fn address(config: &Config) -> Result<SocketAddr, Error> {
    let mut address = config.http.listen;
    if address.port() == 0 {
        let nowhere = |problem: String| Error::Nowhere { problem };
        let file =
            config.ready_file.as_deref().ok_or_else(|| nowhere("there is no ready_file".to_owned()))?;
        let ready =
            Ready::read(file).map_err(|error| nowhere(format!("{} is no help: {error}", file.display())))?;
        address = ready.http;
    }
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    Ok(address)
}

fn fetch(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
