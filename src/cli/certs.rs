//! Decides how `luytre certs` shows everyone's certificates and tokens, and how
//! a certificate is found by the beginning of its serial number.

use serde::Serialize;

use crate::base::clock::{Clock as _, SystemClock};
use crate::base::files;
use crate::client::{CertificateWalk, Client, Severed};
use crate::pki::issue::DAY;
use crate::wire::proto::v1;

use super::arguments::{Certs, CertsAction, ListCertificates, SeverConnections, TableOrJson, TokenAction};
use super::exit::Failure;
use super::output::{self, Data, count};
use super::record;

/// State of what waits for an operator's word.
const UNCONFIRMED: &str = "unconfirmed";

/// Digits that tell one serial number from others, at the least.
const MIN_DIGITS: usize = 4;

#[derive(Debug, Serialize)]
struct Certificate {
    name: String,
    identity: String,
    organisation: String,
    serial: String,
    issuer: String,
    fingerprint: String,
    state: &'static str,
    issued: Option<String>,
    expires: Option<String>,
    /// `null`: never.
    first_used: Option<String>,
    connections: i32,
    renew_now: bool,
    doubtful_clock: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    revoke_reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    revoker: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    severed: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    sever_reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    severer: String,
}

impl Certificate {
    fn of(one: v1::Certificate) -> Self {
        Self {
            state: state(one.state()),
            organisation: record::slug(&one.organisation).to_owned(),
            name: one.name,
            identity: one.spiffe_id,
            serial: one.serial,
            issuer: one.issuer,
            fingerprint: one.fingerprint,
            issued: record::time(one.issue_time),
            expires: record::time(one.expire_time),
            first_used: record::time(one.first_use_time),
            connections: one.connection_count,
            renew_now: one.renew_now,
            doubtful_clock: one.doubtful_clock,
            revoked: record::time(one.revoke_time),
            revoke_reason: one.revoke_reason,
            revoker: one.revoker,
            severed: record::time(one.sever_time),
            sever_reason: one.sever_reason,
            severer: one.severer,
        }
    }

    fn row(&self) -> String {
        let serial = self.serial.get(..16).unwrap_or(&self.serial);
        let expires = self.expires.as_deref().unwrap_or_default();
        let doubt = if self.doubtful_clock { "  (issued under a doubtful clock)" } else { "" };
        row(serial, expires, self.state, self.connections, &format!("{}{doubt}", self.identity))
    }

    /// All of it, for people.
    fn tell(&self, data: &mut Data) -> Result<(), Failure> {
        let yes = if self.renew_now { "asked of its holder" } else { "" };
        let doubt = if self.doubtful_clock { "doubtful when it was issued; renew it" } else { "" };
        let revoked = deed(self.revoked.as_deref(), &self.revoker, &self.revoke_reason);
        let severed = deed(self.severed.as_deref(), &self.severer, &self.sever_reason);
        let connections = count(self.connections.unsigned_abs().into());
        for (name, value) in [
            ("identity", self.identity.as_str()),
            ("organisation", &self.organisation),
            ("state", self.state),
            ("serial", &self.serial),
            ("issuer", &self.issuer),
            ("fingerprint", &self.fingerprint),
            ("issued", self.issued.as_deref().unwrap_or_default()),
            ("expires", self.expires.as_deref().unwrap_or_default()),
            ("first used", self.first_used.as_deref().unwrap_or("never")),
            ("connections", &connections),
            ("renewal now", yes),
            ("clock", doubt),
            ("revoked", &revoked),
            ("severed", &severed),
            ("name", &self.name),
        ] {
            if !value.is_empty() {
                data.line(&format!("{:14}{}", format!("{name}:"), output::on_one_line(value)))?;
            }
        }
        Ok(())
    }
}

/// What an operator did when, and why; nothing for nothing.
fn deed(at: Option<&str>, by: &str, reason: &str) -> String {
    let by = if by.is_empty() { "the machine's operator" } else { by };
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    at.map(|at| format!("{at} by {by}{why}")).unwrap_or_default()
}

/// Runs the command.
pub(super) async fn run(client: &Client, options: &Certs, data: &mut Data) -> Result<(), Failure> {
    match &options.action {
        CertsAction::List(ListCertificates { organisation, all, format }) => {
            let organisation = organisation.clone().unwrap_or_default();
            let walk = CertificateWalk { organisation, expire_before: None, include_ended: *all };
            list(client, &walk, *format, data).await
        }
        CertsAction::Expiring(o) => {
            let until = SystemClock.now().saturating_add(DAY.saturating_mul(u32::from(o.days)));
            let walk = CertificateWalk { expire_before: Some(until), ..CertificateWalk::default() };
            list(client, &walk, o.format, data).await
        }
        CertsAction::Show { certificate } => {
            Certificate::of(client.certificate(&named(client, certificate).await?).await?).tell(data)
        }
        CertsAction::Revoke { certificate, reason, descendants } => {
            let name = named(client, certificate).await?;
            revoked(client.revoke_certificate(&name, reason, *descendants).await?, data)
        }
        CertsAction::Confirm { certificates, all } => confirm(client, certificates, *all).await,
        CertsAction::Sever(o) => sever(client, o).await,
        CertsAction::Token(o) => token(client, &o.action, data).await,
    }
}

/// Tells what became of a revocation.
fn revoked(answer: v1::RevokeCertificateResponse, data: &mut Data) -> Result<(), Failure> {
    let certificate = Certificate::of(answer.certificate.unwrap_or_default());
    certificate.tell(data)?;
    data.flush()?;
    let more = match answer.revoked_count {
        ..=1 => String::new(),
        all => format!(" with {} that it was renewed to", count((all - 1).unsigned_abs().into())),
    };
    output::talk(&format!(
        "revoked{more}; {} ended; nothing more is accepted from it",
        connections(answer.severed_count)
    ));
    if !answer.list_signed {
        output::talk(
            "luytre: warning: the revocation list is not signed yet (is the signer running?); this hub refuses the certificate all the same",
        );
    }
    let left: Vec<_> = answer.descendants.into_iter().map(Certificate::of).collect();
    for one in &left {
        output::talk(&format!(
            "luytre: warning: it was renewed to {}, which is still taken: first used {}, until {}, {} open",
            one.serial,
            one.first_used.as_deref().unwrap_or("never"),
            one.expires.as_deref().unwrap_or_default(),
            connections(one.connections)
        ));
    }
    if !left.is_empty() {
        output::talk(&format!(
            "whoever stole it may have renewed it; to revoke those, too: luytre certs revoke {} --descendants --reason …",
            certificate.serial
        ));
    }
    Ok(())
}

async fn list(
    client: &Client,
    walk: &CertificateWalk,
    format: TableOrJson,
    data: &mut Data,
) -> Result<(), Failure> {
    if format == TableOrJson::Table {
        data.line("SERIAL            EXPIRES                      STATE        CONNECTIONS  IDENTITY")?;
    }
    let (mut token, mut unconfirmed) = (String::new(), 0);
    loop {
        let (page, next) = client.certificates(walk, &token).await?;
        for one in page.into_iter().map(Certificate::of) {
            unconfirmed += i32::from(one.state == UNCONFIRMED);
            match format {
                TableOrJson::Table => data.line(&one.row())?,
                TableOrJson::Jsonl => data.json(&one)?,
            }
        }
        data.flush()?;
        if next.is_empty() {
            break;
        }
        token = next;
    }
    if unconfirmed > 0 {
        output::talk(&waiting(unconfirmed));
    }
    Ok(())
}

/// What to do about certificates that wait for an operator's word.
pub(super) fn waiting(number: i32) -> String {
    format!(
        "luytre: warning: {} of this restored hub wait for an operator's word, and their systems are kept out: look at them (luytre certs list), revoke what should not be there, then run: luytre certs confirm --all",
        match number {
            1 => "1 certificate".to_owned(),
            number => format!("{} certificates", count(number.unsigned_abs().into())),
        }
    )
}

/// Has certificates taken that wait for an operator's word.
async fn confirm(client: &Client, certificates: &[String], all: bool) -> Result<(), Failure> {
    let mut names = Vec::new();
    for one in certificates {
        names.push(named(client, one).await?);
    }
    if all {
        let (walk, mut token) = (CertificateWalk::default(), String::new());
        loop {
            let (page, next) = client.certificates(&walk, &token).await?;
            let waiting = page.into_iter().filter(|one| one.state() == v1::CertificateState::Unconfirmed);
            names.extend(waiting.map(|one| one.name));
            if next.is_empty() {
                break;
            }
            token = next;
        }
        if names.is_empty() {
            output::talk("no certificate waits for an operator's word");
            return Ok(());
        }
    }
    let confirmed = client.confirm_certificates(&names).await?;
    output::talk(&format!("confirmed; certificates that are taken from now on: {confirmed}"));
    Ok(())
}

fn row(serial: &str, expires: &str, state: &str, connections: i32, identity: &str) -> String {
    format!("{serial:16}  {expires:27}  {state:11}  {connections:>11}  {identity}")
}

/// The resource name of the one certificate that is meant.
async fn named(client: &Client, text: &str) -> Result<String, Failure> {
    if text.starts_with("authorities/") {
        return Ok(text.to_owned());
    }
    let digits = text.replace(':', "").to_ascii_lowercase();
    if digits.len() < MIN_DIGITS || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Err(Failure::Usage(format!(
            "error: write a name or a serial number from `luytre certs list`, or at least {MIN_DIGITS} digits of it"
        )));
    }
    let walk = CertificateWalk { include_ended: true, ..CertificateWalk::default() };
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let (page, next) = client.certificates(&walk, &token).await?;
        found.extend(page.into_iter().filter(|one| one.serial.starts_with(&digits)).map(|one| one.name));
        if next.is_empty() {
            break;
        }
        token = next;
    }
    match found.as_slice() {
        [name] => Ok(name.clone()),
        [] => Err(Failure::NoInput(format!("no certificate has a serial number that begins with {digits}"))),
        several => Err(Failure::Usage(format!(
            "error: {} certificates begin with {digits}; write more digits, or the name:\n  {}",
            several.len(),
            several.get(..several.len().min(8)).unwrap_or_default().join("\n  ")
        ))),
    }
}

async fn sever(client: &Client, options: &SeverConnections) -> Result<(), Failure> {
    let target = match options {
        SeverConnections { certificate: Some(text), .. } => Severed::Certificate(named(client, text).await?),
        SeverConnections { principal: Some(identity), .. } => Severed::Principal(identity.clone()),
        SeverConnections { organisation, .. } => {
            Severed::Organisation(organisation.clone().unwrap_or_default())
        }
    };
    let severed = client.sever(target, &options.reason).await?;
    output::talk(&format!("{} ended; their clients may come back", connections(severed)));
    Ok(())
}

fn connections(number: i32) -> String {
    match number {
        1 => "1 connection".to_owned(),
        number => format!("{} connections", count(number.unsigned_abs().into())),
    }
}

#[derive(Debug, Serialize)]
struct Token {
    id: String,
    identity: String,
    state: &'static str,
    fingerprint: String,
    author: String,
    created: Option<String>,
    expires: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

impl Token {
    fn of(one: v1::EnrollmentToken) -> Self {
        Self {
            state: token_state(one.state()),
            id: one.name.strip_prefix(TOKENS).unwrap_or(&one.name).to_owned(),
            identity: one.spiffe_id,
            fingerprint: one.fingerprint,
            author: one.author,
            created: record::time(one.create_time),
            expires: record::time(one.expire_time),
            note: one.note,
        }
    }
}

/// Collection of the resource names of tokens.
const TOKENS: &str = "enrollmentTokens/";

async fn token(client: &Client, action: &TokenAction, data: &mut Data) -> Result<(), Failure> {
    match action {
        TokenAction::Issue { identity, hours, note, to } => {
            let ttl = std::time::Duration::from_secs(u64::from(*hours) * 3_600);
            let answer = client.issue_enrolment_token(identity, Some(ttl), note).await?;
            let token = Token::of(answer.enrollment_token.unwrap_or_default());
            if answer.token.is_empty() {
                return Err(Failure::Io(format!(
                    "the hub made the token, but its answer was lost and it shows a token once; cancel it (luytre certs token cancel {}) and make another",
                    token.id
                )));
            }
            match to {
                Some(path) => files::write_new(path, format!("{}\n", answer.token).as_bytes(), 0o600)
                    .map_err(|error| Failure::Io(format!(
                        "cannot write {}: {error}; cancel the token (luytre certs token cancel {}) and make another",
                        path.display(),
                        token.id
                    )))?,
                None => data.line(&answer.token)?,
            }
            data.flush()?;
            output::talk(&format!(
                "a token for {}, fingerprint {}, until {}",
                token.identity,
                token.fingerprint,
                token.expires.as_deref().unwrap_or_default()
            ));
            if token.state == "pending" {
                output::talk(&format!(
                    "another operator approves it with: luytre certs token approve {}",
                    token.id
                ));
            }
            Ok(())
        }
        TokenAction::List { format } => {
            if *format == TableOrJson::Table {
                data.line("ID                                    STATE    EXPIRES                      FINGERPRINT       IDENTITY")?;
            }
            for one in client.enrolment_tokens().await?.into_iter().map(Token::of) {
                match format {
                    TableOrJson::Jsonl => data.json(&one)?,
                    TableOrJson::Table => data.line(&format!(
                        "{:36}  {:7}  {:27}  {:16}  {}",
                        one.id,
                        one.state,
                        one.expires.as_deref().unwrap_or_default(),
                        one.fingerprint,
                        one.identity
                    ))?,
                }
            }
            Ok(())
        }
        TokenAction::Approve { id } => {
            let approved = Token::of(client.approve_enrolment_token(&named_token(client, id).await?).await?);
            output::talk(&format!(
                "approved; it is good for {} until {}; its fingerprint is {}",
                approved.identity,
                approved.expires.as_deref().unwrap_or_default(),
                approved.fingerprint
            ));
            Ok(())
        }
        TokenAction::Cancel { id } => {
            client.cancel_enrolment_token(&named_token(client, id).await?).await?;
            output::talk("taken back");
            Ok(())
        }
    }
}

/// The resource name of the one token that is meant.
async fn named_token(client: &Client, text: &str) -> Result<String, Failure> {
    let id = text.strip_prefix(TOKENS).unwrap_or(text);
    let all = client.enrolment_tokens().await?;
    let mut found =
        all.iter().filter(|one| one.name.strip_prefix(TOKENS).unwrap_or_default().starts_with(id));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.name.clone()),
        (None, _) => Err(Failure::NoInput(format!("no token that waits or can be used begins with {id}"))),
        (Some(_), Some(_)) => {
            Err(Failure::Usage(format!("error: several tokens begin with {id}; write more of it")))
        }
    }
}

const fn state(state: v1::CertificateState) -> &'static str {
    match state {
        v1::CertificateState::Active => "active",
        v1::CertificateState::Unconfirmed => UNCONFIRMED,
        v1::CertificateState::Superseded => "superseded",
        v1::CertificateState::Expired => "expired",
        v1::CertificateState::Revoked => "revoked",
        v1::CertificateState::Unspecified => "",
    }
}

const fn token_state(state: v1::EnrollmentTokenState) -> &'static str {
    match state {
        v1::EnrollmentTokenState::Pending => "pending",
        v1::EnrollmentTokenState::Ready => "ready",
        v1::EnrollmentTokenState::Used => "used",
        v1::EnrollmentTokenState::Unspecified => "",
    }
}
