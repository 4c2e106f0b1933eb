//! Decides how the hub asks a signer in another process: one connection for
//! each question, and no waiting without end.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use serde::Serialize;

use super::frames::{Answer, Call, JournalFrame, LeafFrame, ListFrame, MAX_LIST_BYTES};
use crate::pki::signing::{Error, Held, LeafOrder, ListOrder, Record, Signer};

/// Longest wait for the signer to take or give the next byte. It answers one
/// question at a time, and a list of 100,000 takes it a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// A signer in another process, over its socket.
#[derive(Debug, Clone)]
pub struct Remote {
    socket: PathBuf,
}

impl Remote {
    /// The signer that listens on `socket`. Nothing is connected before the
    /// first question.
    #[must_use]
    pub const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    fn ask(&self, call: Call, body: &impl Serialize) -> Result<Answer, Error> {
        let body = serde_json::to_vec(body).map_err(|error| refused(error.to_string()))?;
        let frame = call.request(&body).ok_or_else(|| refused("the order is too long".to_owned()))?;
        let answer = self.exchange(&frame).map_err(|error| self.unavailable(&error))?;
        match serde_json::from_slice(&answer) {
            Ok(Answer::Refused(problem)) => Err(Error::Refused { problem }),
            Ok(Answer::Limited(problem)) => Err(Error::Limited { problem }),
            Ok(Answer::Unavailable(problem)) => Err(Error::Unavailable { problem }),
            Ok(answer) => Ok(answer),
            Err(_) => Err(self.unintelligible()),
        }
    }

    fn exchange(&self, frame: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = self.connect()?;
        stream.write_all(frame)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_LIST_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer is too long"));
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let address = SocketAddrUnix::new(&self.socket)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // Bounds the connecting too, while its queue is full.
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        connect(&socket, &address)?;
        Ok(UnixStream::from(socket))
    }

    fn unavailable(&self, error: &io::Error) -> Error {
        let socket = self.socket.display();
        let problem = match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                format!("{socket} hung up; its log says why, and it must know this process's user")
            }
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("{socket} took more than {} seconds", PATIENCE.as_secs())
            }
            _ => format!("{socket}: {error}"),
        };
        Error::Unavailable { problem }
    }

    fn unintelligible(&self) -> Error {
        let socket = self.socket.display();
        Error::Unavailable { problem: format!("{socket} answers what this version does not understand") }
    }
}

const fn refused(problem: String) -> Error {
    Error::Refused { problem }
}

impl Signer for Remote {
    fn authorities(&self) -> Result<Vec<Held>, Error> {
        match self.ask(Call::Authorities, &())? {
            Answer::Authorities(held) => Ok(held.into_iter().map(Held::from).collect()),
            _ => Err(self.unintelligible()),
        }
    }

    fn sign_leaf(&self, order: &LeafOrder) -> Result<CertificateDer<'static>, Error> {
        match self.ask(Call::SignLeaf, &LeafFrame::from(order))? {
            Answer::Signed(der) => Ok(der.0.into()),
            _ => Err(self.unintelligible()),
        }
    }

    fn sign_list(&self, order: &ListOrder) -> Result<CertificateRevocationListDer<'static>, Error> {
        match self.ask(Call::SignList, &ListFrame::from(order))? {
            Answer::Signed(der) => Ok(der.0.into()),
            _ => Err(self.unintelligible()),
        }
    }

    fn journal(&self, after: u64) -> Result<Vec<Record>, Error> {
        match self.ask(Call::Journal, &JournalFrame { after })? {
            Answer::Journal(records) => records
                .into_iter()
                .map(|record| Record::try_from(record).map_err(|_| self.unintelligible()))
                .collect(),
            _ => Err(self.unintelligible()),
        }
    }
}
