//! Decides how one's own certificate is asked for, with a token or with the
//! present one, and put into the files of the profile.

use std::io::{self, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::base::clock::Timestamp;
use crate::base::files;
use crate::cli::arguments::FirstContact;
use crate::cli::exit::Failure;
use crate::cli::output;
use crate::cli::profile::Settings;
use crate::client::{Client, Enrolment, Identity, Issued, Keep};
use crate::model::principal::SpiffeId;
use crate::pki::{identity, issue, pem};

/// Longest file that is read for a token.
const MAX_TOKEN_FILE: u64 = 4096;

/// The certificate that lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) identity: SpiffeId,
    pub(super) serial: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// The files of the profile, kept by this process.
#[derive(Debug)]
pub(super) struct Own {
    settings: Settings,
    keep: Keep,
    /// Once there is a certificate to connect with.
    connected: Option<(Client, Identity)>,
}

impl Own {
    pub(super) fn open(settings: Settings) -> Result<Self, Failure> {
        let keep = Keep::open(&settings.cert, &settings.key)?.with_authorities(&settings.ca);
        Ok(Self { settings, keep, connected: None })
    }

    pub(super) fn chain(&self) -> &Path {
        &self.settings.cert
    }

    /// What lies in the file; `None`: there is none.
    pub(super) fn held(&self) -> Result<Option<Held>, Failure> {
        let path = &self.settings.cert;
        let wrong = |problem: String| Failure::Configuration(format!("{}: {problem}", path.display()));
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(format!("cannot be read: {error}"))),
        };
        let chain = pem::certificates(&text).map_err(|error| wrong(error.to_string()))?;
        let leaf = chain.first().ok_or_else(|| wrong("holds no certificate".to_owned()))?;
        let held = identity::read_of_any_domain(leaf).map_err(|error| wrong(error.to_string()))?;
        let parsed = identity::parse(leaf).map_err(|error| wrong(error.to_string()))?;
        let (not_before, not_after) =
            issue::validity_of(&parsed).map_err(|error| wrong(error.to_string()))?;
        Ok(Some(Held { identity: held.spiffe_id, serial: held.serial, not_before, not_after }))
    }

    /// A client in the name of the certificate in the files.
    pub(super) fn client(&mut self) -> Result<&Client, Failure> {
        let connected = match self.connected.take() {
            Some(connected) => connected,
            None => {
                let identity = self.settings.identity()?;
                (self.settings.connect(identity.clone())?, identity)
            }
        };
        Ok(&self.connected.insert(connected).0)
    }

    /// Trades a token for a certificate; `token`: one that was read already.
    pub(super) async fn enrol(&self, first: &FirstContact, token: Option<&str>) -> Result<Issued, Failure> {
        let (Some(at), Some(file)) = (&first.enrol_at, &first.token_file) else {
            return Err(Failure::Usage(
                "error: --enrol-at HOST:PORT and --token-file FILE are needed to enrol; the hub's operator gives both".to_owned(),
            ));
        };
        let read;
        let token = match token {
            Some(token) => token,
            None => {
                read = read_token(file)?;
                &read
            }
        };
        let mut enrolment = Enrolment::new(at, token)?;
        if let Some(name) = &self.settings.server_name {
            enrolment = enrolment.server_name(name);
        }
        if first.trust_ca {
            enrolment = enrolment.authorities(&self.settings.ca);
        }
        Ok(enrolment.enrol(self.keep.pending_key()?).await?)
    }

    /// Trades the present certificate for the next one.
    pub(super) async fn renew(&mut self) -> Result<Issued, Failure> {
        let held = self.held()?.ok_or_else(|| {
            Failure::NoInput(format!(
                "there is no certificate in {}; the first one is got with luytre cert enrol",
                self.settings.cert.display()
            ))
        })?;
        let key = self.keep.pending_key()?;
        let renewed = self.client()?.renew(key, &held.identity).await;
        if let Err(error) = &renewed
            && matches!(error.reason(), "KEY_REUSED" | "FIELD_INVALID")
        {
            // It may be the key that is refused, such as one of an answer that
            // was lost long ago.
            self.keep.discard_pending_key()?;
        }
        Ok(renewed?)
    }

    /// Puts a certificate in its place; the connection follows.
    pub(super) fn store(&self, issued: &Issued) -> Result<(), Failure> {
        self.keep.store(issued)?;
        if let Some((_, identity)) = &self.connected {
            identity.reload()?;
        }
        Ok(())
    }

    /// The hub's authorities as the hub says them now, if they are not those in
    /// the file.
    pub(super) async fn newer_authorities(&mut self) -> Result<Option<String>, Failure> {
        let bundle = self.client()?.trust_bundle().await?;
        let text: String =
            bundle.certificates.iter().map(|der| pem::encode(pem::Label::Certificate, der)).collect();
        let news = !text.is_empty() && self.keep.would_change_authorities(&text)?;
        Ok(news.then_some(text))
    }

    /// Shakes hands with the hub under the name for which it shows its next
    /// certificate, if it says that there is one, so that it knows that this
    /// system trusts the next authority.
    pub(super) async fn prove_trust(&mut self) -> Result<(), Failure> {
        let name = self.client()?.trust_bundle().await?.canary_name;
        if name.is_empty() {
            return Ok(());
        }
        match self.settings.connect_to_canary(&name, self.settings.identity()?)?.whoami().await {
            Ok(_) => tracing::debug!("the hub has seen that its next authority is trusted here"),
            Err(error) => {
                tracing::warn!(%error, "the hub's next certificate is not trusted here; see to the file of its authorities");
            }
        }
        Ok(())
    }

    pub(super) fn store_authorities(&self, text: &str) -> Result<(), Failure> {
        self.keep.store_authorities(text)?;
        Ok(())
    }

    /// What to do about a certificate that has ended.
    pub(super) fn lapsed(&self, held: &Held) -> Failure {
        let Settings { cert, key, ca, .. } = &self.settings;
        Failure::Lapsed(format!(
            "the certificate in {} ended at {} and cannot be renewed any more.\n  The hub's operator makes a token for it:\n    luytre certs token issue {}\n  With that token in a file, and the hub's enrolment address, run:\n    luytre --cert {} --key {} --ca {} cert enrol --enrol-at HOST:PORT --token-file FILE",
            cert.display(),
            held.not_after,
            held.identity,
            cert.display(),
            key.display(),
            ca.display()
        ))
    }
}

/// Reads a token; - is stdin.
pub(super) fn read_token(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().take(MAX_TOKEN_FILE).read_to_string(&mut text)
    } else {
        if files::is_open_to_others(path).unwrap_or(false) {
            output::talk(&format!(
                "luytre: warning: others can read the token {0}; run: chmod 600 {0}",
                path.display()
            ));
        }
        std::fs::File::open(path).and_then(|file| file.take(MAX_TOKEN_FILE).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::NoInput(format!("cannot read the token {}: {error}", path.display())))?;
    Ok(text)
}
