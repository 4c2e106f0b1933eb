//! Decides what the ledger of issued certificates says: which were issued and
//! how each stands, which tokens can be used, what is revoked for good.
//! Deterministic: what it needs of time and chance is in each entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::authority::Rotation;
use super::schedule;
use crate::base::clock::Timestamp;
use crate::base::sheets::Sheets;
use crate::model::certificate::{
    Certificate, CertificateChange, CertificateEntry, CertificateId, GRACE, Hierarchy, IssuerDigest,
    MAX_TOKENS, Origin, REPEAT, Revoked, Severance, State, Token, TokenState,
};
use crate::model::position::Position;
use crate::model::principal::SpiffeId;

/// Most revocations that are kept, of certificates that the ledger does not
/// know included.
pub const MAX_REVOKED: usize = 200_000;

/// Most times that connections were ended of which the ledger tells; the log
/// has them all.
pub const MAX_SEVERANCES: usize = 256;

/// How far above the last a number of a revocation list is drawn after a
/// restore, for the lists that the backup did not know.
pub const NUMBER_STEP: u64 = 1 << 32;

/// Why a change among certificates is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such token or certificate.
    Absent,
    /// It is not in the state for that, or no longer.
    State,
    /// The token has ended.
    Expired,
    /// The same person may not do both.
    SecondPerson,
    /// There are too many already.
    TooMany,
    /// The holder's key, the serial or the token is in use already.
    Reused,
    /// Another state stands than the one that it was made from.
    Stale,
    /// The certificate was renewed a moment ago.
    Early,
}

/// Everything that the log says of certificates. Clones share what they have
/// in common, so that a change costs little however many there are.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// What was issued.
    pub certificates: Sheets<CertificateId, Arc<Certificate>>,
    /// Certificates of one holder.
    holders: Sheets<SpiffeId, Arc<BTreeSet<CertificateId>>>,
    /// Holders' keys, by digest, and under which certificate first.
    keys: Sheets<[u8; 32], CertificateId>,
    /// What is revoked.
    pub revoked: Sheets<CertificateId, Arc<Revoked>>,
    /// When connections were ended of late, by the position of the entry.
    pub severances: BTreeMap<Position, Arc<Severance>>,
    /// Tokens, by the position of the entry that made them.
    pub tokens: BTreeMap<Position, Arc<Token>>,
    /// The last number drawn for the list of each authority.
    pub numbers: BTreeMap<IssuerDigest, u64>,
    /// Who proved that he trusts which authority.
    pub proofs: Sheets<(IssuerDigest, SpiffeId), ()>,
    /// Up to which record the signer's journal was read, and where that was
    /// noted.
    pub read: (u64, Position),
    /// When the newest backup was begun that is whole.
    pub backed_up: Option<Timestamp>,
    /// Where the authorities stand.
    pub rotations: BTreeMap<Hierarchy, Arc<Rotation>>,
}

/// Who asks for a change, as the entry says.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// His SPIFFE identity; empty: the machine's operator, or the hub itself.
    pub author: &'a str,
    /// Where the entry stands.
    pub at: Position,
}

impl Ledger {
    /// Puts a stored certificate in its place.
    pub fn insert(&mut self, certificate: Arc<Certificate>) {
        let mut theirs = self.holders.get(&certificate.holder).cloned().unwrap_or_default();
        Arc::make_mut(&mut theirs).insert(certificate.id.clone());
        self.holders.insert(certificate.holder.clone(), theirs);
        if !self.keys.contains_key(&certificate.key) {
            self.keys.insert(certificate.key, certificate.id.clone());
        }
        self.certificates.insert(certificate.id.clone(), certificate);
    }

    /// The certificates of `holder`.
    pub fn of<'a>(&'a self, holder: &SpiffeId) -> impl Iterator<Item = &'a Arc<Certificate>> {
        let theirs = self.holders.get(holder).into_iter().flat_map(|theirs| theirs.iter());
        theirs.filter_map(|id| self.certificates.get(id))
    }

    /// Whether a certificate is taken at `now`: in the ledger, not revoked,
    /// not superseded, not ended.
    #[must_use]
    pub fn is_live(&self, certificate: &Certificate, now: Timestamp) -> bool {
        !self.revoked.contains_key(&certificate.id)
            && matches!(certificate.state(now), State::Active | State::Grace)
    }

    /// Whether the hub's own authorities include `issuer`, so that what is not
    /// in the ledger was never issued.
    #[must_use]
    pub fn is_embedded(&self, issuer: &IssuerDigest) -> bool {
        self.rotations.get(&Hierarchy::Client).is_some_and(|rotation| {
            rotation.current.issuer == *issuer
                || rotation.next.as_ref().is_some_and(|next| next.issuer == *issuer)
                || rotation.retired.iter().any(|retired| retired.0 == *issuer)
        })
    }

    /// Whether `issuer` was an authority of the hub's, and is trusted no more.
    #[must_use]
    pub fn is_retired(&self, issuer: &IssuerDigest) -> bool {
        self.rotations
            .get(&Hierarchy::Client)
            .is_some_and(|rotation| rotation.retired.iter().any(|retired| retired.0 == *issuer))
    }

    /// When the connections under a certificate were last ended.
    #[must_use]
    pub fn last_severed(&self, certificate: &Certificate) -> Option<&Arc<Severance>> {
        self.severances.values().rev().find(|severance| severance.peers.include(certificate))
    }

    /// What a certificate was renewed to, and that in its turn, and was never
    /// used.
    fn unused_successors(&self, id: &CertificateId) -> Vec<CertificateId> {
        let unused = |c: &Certificate| c.first_used.is_none() && !self.revoked.contains_key(&c.id);
        self.line(id, |c| c.origin != Origin::Recovered && unused(c))
    }

    /// All that a certificate was renewed to, and that in its turn. What its
    /// holder has from the signer's journal may have been, if it is younger.
    #[must_use]
    pub fn descendants(&self, id: &CertificateId) -> Vec<CertificateId> {
        self.line(id, |_| true)
    }

    /// The certificates that follow upon one, each if `taken`.
    fn line(&self, id: &CertificateId, taken: impl Fn(&Certificate) -> bool) -> Vec<CertificateId> {
        let Some(first) = self.certificates.get(id) else { return Vec::new() };
        let mut rest: Vec<_> = self.of(&first.holder).filter(|c| c.id != *id && taken(c)).collect();
        let mut line = vec![id.clone()];
        let mut next = 0;
        while let Some(before) = line.get(next).cloned() {
            rest.retain(|c| {
                let follows = match &c.origin {
                    Origin::Renewal(renewed) => *renewed == before,
                    Origin::Recovered => c.issued > first.issued && !c.holder.org().is_hubs_own(),
                    Origin::Token(_) => false,
                };
                if follows {
                    line.push(c.id.clone());
                }
                !follows
            });
            next = next.saturating_add(1);
        }
        line.split_off(1)
    }

    /// The certificate that the same request would get once more at `now`:
    /// issued for `key` to `holder` a moment ago.
    #[must_use]
    pub fn repeat(&self, holder: &SpiffeId, key: &[u8; 32], now: Timestamp) -> Option<&Arc<Certificate>> {
        let known = self.keys.get(key).and_then(|id| self.certificates.get(id))?;
        let fresh = now.since(known.issued) <= REPEAT && self.is_live(known, now);
        (fresh && known.holder == *holder).then_some(known)
    }

    /// Whether holders of certificates of `issuer` are asked to renew now.
    #[must_use]
    pub fn is_tainted(&self, issuer: &IssuerDigest) -> bool {
        self.rotations.get(&Hierarchy::Client).is_some_and(|rotation| rotation.renews_now(issuer))
    }

    /// That a certificate was renewed so lately that it is not renewed again:
    /// when, and from when on it is.
    #[must_use]
    pub fn renewed_lately(&self, known: &Certificate, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let pause = if self.is_tainted(&known.id.issuer) {
            REPEAT
        } else {
            schedule::renewal_period(known.not_after.since(known.not_before))
        };
        let of_it =
            |c: &&Arc<Certificate>| matches!(&c.origin, Origin::Renewal(before) if *before == known.id);
        let issued = self.of(&known.holder).filter(of_it).map(|c| c.issued).max()?;
        let again = issued.saturating_add(pause);
        (now < again).then_some((issued, again))
    }

    /// Whether a key was ever certified here.
    #[must_use]
    pub fn knows_key(&self, key: &[u8; 32]) -> bool {
        self.keys.contains_key(key)
    }

    /// The token with this digest.
    #[must_use]
    pub fn token(&self, digest: &[u8; 32]) -> Option<&Arc<Token>> {
        self.tokens.values().find(|token| token.digest == *digest)
    }

    /// Applies an entry. `operates` says who holds the operator's role.
    ///
    /// # Errors
    /// Why it is refused; nothing has changed then.
    pub fn apply(
        &mut self,
        entry: &CertificateEntry,
        asker: Asker<'_>,
        operates: &dyn Fn(&SpiffeId) -> bool,
    ) -> Result<(), Refusal> {
        let now = entry.time;
        match &entry.change {
            CertificateChange::Make { digest, holder, expires, note } => {
                self.forget_tokens(now);
                if self.tokens.len() >= MAX_TOKENS {
                    return Err(Refusal::TooMany);
                }
                let token = Token {
                    digest: *digest,
                    at: asker.at,
                    holder: holder.clone(),
                    author: asker.author.to_owned(),
                    made: now,
                    expires: *expires,
                    note: note.clone(),
                    state: TokenState::Pending,
                };
                self.tokens.insert(asker.at, Arc::new(token));
                Ok(())
            }
            CertificateChange::Approve(at) => self.approve(*at, now, asker, operates),
            CertificateChange::Cancel(at) => {
                let token = self.tokens.get(at).ok_or(Refusal::Absent)?;
                if matches!(token.state, TokenState::Used(_)) {
                    return Err(Refusal::State);
                }
                self.tokens.remove(at);
                Ok(())
            }
            CertificateChange::Issue(certificate) => self.issue(certificate, now),
            CertificateChange::Revoke { id, reason, descendants } => {
                // Whoever stole it may have renewed it, and wait.
                let mut line = self.unused_successors(id);
                if *descendants {
                    let lasts =
                        |one: &_| self.certificates.get(one).is_some_and(|c| c.state(now) != State::Expired);
                    line = self.descendants(id);
                    line.retain(|one| lasts(one) && !self.revoked.contains_key(one));
                }
                if self.revoked.contains_key(id) && (line.is_empty() || !descendants) {
                    return Err(Refusal::State);
                }
                // What the ledger does not know of its own authorities is
                // refused anyway, and would only fill the lists.
                if self.is_embedded(&id.issuer) && !self.certificates.contains_key(id) {
                    return Err(Refusal::Absent);
                }
                if self.revoked.len() >= MAX_REVOKED {
                    return Err(Refusal::TooMany);
                }
                let revoked =
                    Arc::new(Revoked { time: now, reason: reason.clone(), by: asker.author.to_owned() });
                if !self.revoked.contains_key(id) {
                    line.push(id.clone());
                }
                for one in line {
                    self.revoked.insert(one, Arc::clone(&revoked));
                }
                Ok(())
            }
            CertificateChange::Confirm(ids) => self.confirm(ids, now),
            CertificateChange::Sever { peers, reason } => {
                let (peers, reason) = (peers.clone(), reason.clone());
                let severance = Severance { peers, time: now, reason, by: asker.author.to_owned() };
                self.severances.insert(asker.at, Arc::new(severance));
                while self.severances.len() > MAX_SEVERANCES {
                    self.severances.pop_first();
                }
                Ok(())
            }
            CertificateChange::Use(id) => self.first_use(id, now),
            CertificateChange::Draw(issuer) => {
                let number = self.numbers.entry(*issuer).or_default();
                *number = number.saturating_add(1);
                Ok(())
            }
            CertificateChange::Prove { holder, issuer } => {
                if self.proofs.insert((*issuer, holder.clone()), ()).is_none() {
                    Ok(())
                } else {
                    Err(Refusal::State)
                }
            }
            CertificateChange::Read(number) => {
                // After a restore another journal may be there, and a shorter one.
                let restored = asker.at.seq().epoch() > self.read.1.seq().epoch();
                if *number < self.read.0 && !restored {
                    return Err(Refusal::Stale);
                }
                self.read = (*number, asker.at);
                Ok(())
            }
            CertificateChange::BackUp(begun) => {
                if self.backed_up.is_some_and(|known| *begun <= known) {
                    return Err(Refusal::Stale);
                }
                self.backed_up = Some(*begun);
                Ok(())
            }
            CertificateChange::Skip { issuer, number } => {
                let known = self.numbers.entry(*issuer).or_default();
                if *number <= *known {
                    return Err(Refusal::Stale);
                }
                *known = *number;
                Ok(())
            }
        }
    }

    /// Takes a rotation one step on: only from the one that stands.
    ///
    /// # Errors
    /// [`Refusal::Stale`].
    pub fn rotate(&mut self, hierarchy: Hierarchy, next: &Arc<Rotation>) -> Result<(), Refusal> {
        let stands = self.rotations.get(&hierarchy).map_or(0, |rotation| rotation.version);
        if next.version != stands.saturating_add(1) || next.hierarchy != hierarchy {
            return Err(Refusal::Stale);
        }
        if let Some(before) = self.rotations.insert(hierarchy, Arc::clone(next)) {
            // What was proved of an authority that is gone proves nothing.
            let trusted = |issuer: &IssuerDigest| {
                next.current.issuer == *issuer || next.next.as_ref().is_some_and(|n| n.issuer == *issuer)
            };
            if before.hierarchy == Hierarchy::Server {
                self.proofs.retain(|(issuer, _), ()| trusted(issuer));
            }
        }
        Ok(())
    }

    fn approve(
        &mut self,
        at: Position,
        now: Timestamp,
        asker: Asker<'_>,
        operates: &dyn Fn(&SpiffeId) -> bool,
    ) -> Result<(), Refusal> {
        let token = self.tokens.get(&at).ok_or(Refusal::Absent)?;
        if token.state != TokenState::Pending {
            return Err(Refusal::State);
        }
        if now >= token.expires {
            return Err(Refusal::Expired);
        }
        // Two persons, and the machine's operator is one of them; he is
        // alone only where nobody else could be asked.
        let same = token.author == asker.author;
        let alone = asker.author.is_empty() && !self.has_operator(now, operates);
        if same && !alone {
            return Err(Refusal::SecondPerson);
        }
        let mut token = Token::clone(token);
        token.state = TokenState::Ready;
        self.tokens.insert(at, Arc::new(token));
        Ok(())
    }

    /// Whether an operator holds a certificate that is taken.
    fn has_operator(&self, now: Timestamp, operates: &dyn Fn(&SpiffeId) -> bool) -> bool {
        self.certificates.values().any(|c| self.is_live(c, now) && operates(&c.holder))
    }

    fn issue(&mut self, certificate: &Arc<Certificate>, now: Timestamp) -> Result<(), Refusal> {
        if self.certificates.contains_key(&certificate.id) {
            return Err(Refusal::Reused);
        }
        // What was ordered before a step of the rotation may come after it.
        let signing = self.rotations.get(&Hierarchy::Client).map(|rotation| rotation.signing().issuer);
        if certificate.origin != Origin::Recovered && signing != Some(certificate.id.issuer) {
            return Err(Refusal::Stale);
        }
        match &certificate.origin {
            Origin::Recovered => {}
            _ if self.keys.contains_key(&certificate.key) => return Err(Refusal::Reused),
            Origin::Token(digest) => {
                let token = self.token(digest).ok_or(Refusal::Absent)?;
                if token.state != TokenState::Ready || token.holder != certificate.holder {
                    return Err(Refusal::State);
                }
                if now >= token.expires {
                    return Err(Refusal::Expired);
                }
                let mut token = Token::clone(token);
                token.state = TokenState::Used(certificate.id.clone());
                self.tokens.insert(token.at, Arc::new(token));
            }
            Origin::Renewal(before) => {
                let known = self.certificates.get(before).ok_or(Refusal::Absent)?;
                // One whose successor is in use is renewed by nobody who holds that.
                let active = self.is_live(known, now) && known.state(now) == State::Active;
                if !active || known.holder != certificate.holder {
                    return Err(Refusal::State);
                }
                if self.renewed_lately(known, now).is_some() {
                    return Err(Refusal::Early);
                }
                // One successor at a time: one from before that was never used has lost its way.
                self.supersede(&certificate.holder, now, now, |c| c.first_used.is_none() && c.id != *before);
            }
        }
        self.insert(Arc::clone(certificate));
        Ok(())
    }

    /// Whether a certificate waits for an operator's word.
    #[must_use]
    pub fn waits(&self, certificate: &Certificate, now: Timestamp) -> bool {
        certificate.state(now) == State::Unconfirmed && !self.revoked.contains_key(&certificate.id)
    }

    /// Those of them that wait are taken from now on.
    fn confirm(&mut self, ids: &[CertificateId], now: Timestamp) -> Result<(), Refusal> {
        let known = ids.iter().filter_map(|id| self.certificates.get(id));
        let waiting: Vec<_> = known
            .filter(|known| self.waits(known, now))
            .map(|known| Certificate { unconfirmed: false, ..Certificate::clone(known) })
            .collect();
        if waiting.is_empty() {
            let known = ids.iter().any(|id| self.certificates.contains_key(id));
            return Err(if known { Refusal::State } else { Refusal::Absent });
        }
        for mut certificate in waiting {
            // What its holder has used since takes its place, as it would have.
            if self.of(&certificate.holder).any(|c| c.first_used.is_some() && c.issued > certificate.issued) {
                certificate.superseded.get_or_insert_with(|| now.saturating_add(GRACE));
            }
            self.certificates.insert(certificate.id.clone(), Arc::new(certificate));
        }
        Ok(())
    }

    /// The first use of a certificate begins the end of those before it.
    fn first_use(&mut self, id: &CertificateId, now: Timestamp) -> Result<(), Refusal> {
        let known = self.certificates.get(id).ok_or(Refusal::Absent)?;
        if known.first_used.is_some() {
            return Err(Refusal::State);
        }
        let used = Certificate { first_used: Some(now), ..Certificate::clone(known) };
        let (holder, issued) = (used.holder.clone(), used.issued);
        self.certificates.insert(id.clone(), Arc::new(used));
        self.supersede(&holder, now, now.saturating_add(GRACE), |c| c.id != *id && c.issued <= issued);
        Ok(())
    }

    fn supersede(
        &mut self,
        holder: &SpiffeId,
        now: Timestamp,
        end: Timestamp,
        chosen: impl Fn(&Certificate) -> bool,
    ) {
        let older: Vec<_> = self
            .of(holder)
            .filter(|c| c.state(now) == State::Active && chosen(c))
            .map(|c| Certificate { superseded: Some(end), ..Certificate::clone(c) })
            .collect();
        for certificate in older {
            self.certificates.insert(certificate.id.clone(), Arc::new(certificate));
        }
    }

    /// Forgets tokens that ended, once nobody asks for their answer again.
    fn forget_tokens(&mut self, now: Timestamp) {
        self.tokens.retain(|_, token| now < token.expires.saturating_add(REPEAT));
    }
}

#[cfg(test)]
mod tests;
