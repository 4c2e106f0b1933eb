//! Decides what the hub is compared with: the same rows in SQLite, with the
//! indexes that whoever knows it well would give it, and FTS5 for text.
//!
//! Rows are numbered in the order of their newest versions, so that newest
//! first is SQLite's own order of rows and ends every index.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use luytre::wire::observable::flat;
use luytre::wire::proto::v1;
use prost::Message as _;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params, params_from_iter};

use super::ask::{Asker, PAGE, Times};
use super::filters::Ask;
use super::{roster, wire};

const TABLES: &str = "
    CREATE TABLE indicator(
        id INTEGER PRIMARY KEY, name TEXT, kind INT, value TEXT, owner TEXT, org_kind TEXT, tlp INT, state INT,
        role INT, action INT, family TEXT, campaign TEXT, confidence INT, created INT, version INT,
        first_seen INT, last_seen INT, valid_from INT, valid_until INT, host TEXT, lowest BLOB, highest BLOB,
        body BLOB);
    CREATE TABLE label(label TEXT, id INT, PRIMARY KEY(label, id)) WITHOUT ROWID;
    CREATE TABLE technique(technique TEXT, id INT, PRIMARY KEY(technique, id)) WITHOUT ROWID;
    CREATE TABLE known(value TEXT, id INT, PRIMARY KEY(value, id)) WITHOUT ROWID;
    CREATE TABLE sighting(reporter TEXT, outcome INT, at INT, id INT);
    CREATE TABLE filled(rows INT, sightings INT, seconds REAL, as_told TEXT);
    CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize=\"unicode61 remove_diacritics 2\");";

const INDEXES: &str = "
    CREATE INDEX i01 ON indicator(kind, state); CREATE INDEX i02 ON indicator(owner, state);
    CREATE INDEX i03 ON indicator(org_kind, state); CREATE INDEX i04 ON indicator(tlp, state);
    CREATE INDEX i05 ON indicator(state); CREATE INDEX i06 ON indicator(role, state);
    CREATE INDEX i07 ON indicator(action, state); CREATE INDEX i08 ON indicator(family, state);
    CREATE INDEX i09 ON indicator(campaign, state); CREATE INDEX i10 ON indicator(confidence);
    CREATE INDEX i11 ON indicator(created); CREATE INDEX i12 ON indicator(version);
    CREATE INDEX i13 ON indicator(first_seen); CREATE INDEX i14 ON indicator(last_seen);
    CREATE INDEX i15 ON indicator(value); CREATE INDEX i16 ON indicator(host);
    CREATE INDEX i17 ON indicator(lowest); CREATE INDEX i18 ON indicator(valid_until);
    CREATE INDEX s1 ON sighting(reporter, id); CREATE INDEX s2 ON sighting(outcome, id);
    CREATE INDEX s3 ON sighting(at);
    ANALYZE;";

/// Settings as for the hub: as much cache.
const SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -262144;
    PRAGMA temp_store = MEMORY;";

/// The same rows in SQLite.
pub struct Sqlite {
    connection: Connection,
    pub rows: usize,
    pub sightings: usize,
    pub seconds: f64,
}

impl Sqlite {
    /// The same rows, where a run before stored them.
    pub fn kept(path: &Path) -> Option<Self> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).ok()?;
        connection.execute_batch(SETTINGS).ok()?;
        let filled = connection.query_row("SELECT * FROM filled", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get::<_, String>(3)?))
        });
        let (rows, sightings, seconds, as_told) = filled.ok()?;
        if as_told != [TABLES, INDEXES].concat() {
            return None;
        }
        let number = |count: i64| usize::try_from(count).unwrap_or_default();
        Some(Self { connection, rows: number(rows), sightings: number(sightings), seconds })
    }

    /// Takes from the hub all that the analyst may see, and stores it.
    pub async fn filled(asker: &Asker, path: &Path) -> Self {
        let (standing, sightings) = (standing(asker).await, sightings(asker).await);
        let started = Instant::now();
        let _ = std::fs::remove_file(path);
        let mut connection = Connection::open(path).expect("a file for SQLite");
        connection.execute_batch(SETTINGS).expect("settings");
        connection.execute_batch(TABLES).expect("tables");
        let ids = fill(&mut connection, &standing);
        let transaction = connection.transaction().expect("a transaction");
        let mut insert = transaction.prepare("INSERT INTO sighting VALUES(?,?,?,?)").expect("a statement");
        for sighting in &sightings {
            let Some(id) = ids.get(&sighting.indicator) else { continue };
            let at = sighting.create_time.as_ref().map(micros);
            insert.execute(params![sighting.reporter, sighting.outcome, at, id]).expect("a row");
        }
        drop(insert);
        transaction.commit().expect("a commit");
        connection.execute_batch(INDEXES).expect("indexes");
        connection
            .execute_batch("INSERT INTO words(words) VALUES('optimize'); PRAGMA optimize;")
            .expect("an order");
        let seconds = started.elapsed().as_secs_f64();
        let as_told = [TABLES, INDEXES].concat();
        let filled = params![standing.len() as i64, sightings.len() as i64, seconds, as_told];
        connection.execute("INSERT INTO filled VALUES(?,?,?,?)", filled).expect("a note");
        Self { connection, rows: standing.len(), sightings: sightings.len(), seconds }
    }

    /// Asks each for its first page: how long that took, and the names on it.
    pub fn pages(&self, asks: &[Ask]) -> (Times, Vec<Vec<String>>) {
        let (mut times, mut pages) = (Times::default(), Vec::with_capacity(asks.len()));
        let mut prepared = HashMap::new();
        for ask in asks {
            let Query { text, values } = query(ask);
            let started = Instant::now();
            // Prepared statements are kept, as a program would.
            if !prepared.contains_key(&text) {
                prepared.insert(text.clone(), self.connection.prepare(&text).expect("a query"));
            }
            let statement = prepared.get_mut(&text).expect("it was just put there");
            let mut rows = statement.query(params_from_iter(values)).expect("an answer");
            let mut bodies: Vec<Vec<u8>> = Vec::with_capacity(PAGE);
            while let Some(row) = rows.next().expect("a row") {
                bodies.push(row.get(0).expect("a body"));
            }
            times.add(started.elapsed());
            let name =
                |body: &Vec<u8>| v1::Indicator::decode(body.as_slice()).map(|i| i.name).unwrap_or_default();
            pages.push(bodies.iter().map(name).collect());
        }
        (times, pages)
    }

    /// How it finds the first page.
    pub fn plan(&self, ask: &Ask) -> String {
        let Query { text, values } = query(ask);
        let mut statement = self.connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).expect("a query");
        let rows =
            statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).expect("a plan");
        rows.flatten().collect::<Vec<_>>().join("; ")
    }
}

type Standing = BTreeMap<u64, v1::Indicator>;

/// Everything that the analyst may see, by version: page by page, in the order
/// of first publication.
async fn standing(asker: &Asker) -> Standing {
    use v1::IndicatorState as State;
    let states = [State::Active, State::Revoked, State::Expired].map(i32::from).to_vec();
    let mut request = v1::ListIndicatorsRequest {
        filter: Some(v1::IndicatorFilter { states, ..Default::default() }),
        page_size: 1_000,
        order: v1::IndicatorOrder::PublishedOldest.into(),
        ..Default::default()
    };
    let mut standing = Standing::new();
    loop {
        let page = asker.page(&request).await.expect("a page");
        standing.extend(page.indicators.into_iter().map(|indicator| (indicator.version, indicator)));
        if page.next_page_token.is_empty() {
            return standing;
        }
        request.page_token = page.next_page_token;
    }
}

/// Every sighting that the analyst hears of from the beginning on.
async fn sightings(asker: &Asker) -> Vec<v1::Sighting> {
    let open = v1::Open {
        start: Some(v1::open::Start::Position(v1::StartPosition::Earliest.into())),
        initial_credit: 1_000_000_000,
        include_sightings: true,
        ..Default::default()
    };
    let message = Some(v1::subscribe_request::Message::Open(open));
    let (send, receive) = tokio::sync::mpsc::channel(4);
    send.send(v1::SubscribeRequest { message }.encode_to_vec().into()).await.expect("the stream is open");
    let requests = tokio_stream::wrappers::ReceiverStream::new(receive);
    let mut answers =
        wire::open(asker.channel.clone(), wire::SUBSCRIBE, &[], requests).await.expect("the call is taken");
    let mut sightings = Vec::new();
    // Quiet for this long: there is no more.
    while let Ok(message) = tokio::time::timeout(Duration::from_secs(2), answers.message()).await {
        let message = message.expect("the stream goes on").expect("the stream goes on");
        let message = v1::SubscribeResponse::decode(message).expect("a message").message;
        let Some(v1::subscribe_response::Message::Batch(batch)) = message else { continue };
        for event in batch.events {
            if let Some(v1::event::Subject::Sighting(sighting)) = event.subject {
                sightings.push(sighting);
            }
        }
    }
    sightings
}

/// The rows and what belongs to them; their numbers by name.
fn fill(connection: &mut Connection, standing: &Standing) -> HashMap<String, i64> {
    let kinds: HashMap<_, _> = (0..roster::ORGANISATIONS)
        .map(|place| (roster::name(&roster::slug(place)), roster::kind(place)))
        .collect();
    let mut ids = HashMap::with_capacity(standing.len());
    let transaction = connection.transaction().expect("a transaction");
    let marks = vec!["?"; 23].join(",");
    let mut rows =
        transaction.prepare(&format!("INSERT INTO indicator VALUES({marks})")).expect("a statement");
    let pair = |table: &str| transaction.prepare(&format!("INSERT OR IGNORE INTO {table} VALUES(?,?)"));
    let mut labels = pair("label").expect("a statement");
    let mut techniques = pair("technique").expect("a statement");
    let mut known = pair("known").expect("a statement");
    let mut words = transaction.prepare("INSERT INTO words(rowid, text) VALUES(?,?)").expect("a statement");
    for (id, indicator) in (1_i64..).zip(standing.values()) {
        ids.insert(indicator.name.clone(), id);
        let (_, value, hashes) = flat(indicator.observable.clone());
        let observable = indicator.observable.as_ref().and_then(|observable| observable.value.as_ref());
        let kind = observable.map(|value| i32::from(super::filters::kind_of(value)));
        let (host, net) = (host_of(indicator), net_of(indicator));
        let text = |text: &String| (!text.is_empty()).then(|| text.to_lowercase());
        let said = |number: i32| (number != 0).then_some(number);
        let at = |at: &Option<prost_types::Timestamp>| at.as_ref().map(micros);
        let marking = indicator.marking.as_ref().map_or(0, |marking| marking.tlp);
        rows.execute(params![
            id,
            indicator.name,
            kind,
            value,
            indicator.owner,
            kinds.get(&indicator.owner),
            marking,
            indicator.state,
            said(indicator.role),
            said(indicator.recommended_action),
            text(&indicator.family),
            text(&indicator.campaign),
            indicator.confidence,
            at(&indicator.create_time),
            indicator.version as i64,
            at(&indicator.first_seen),
            at(&indicator.last_seen),
            at(&indicator.valid_from),
            at(&indicator.valid_until),
            host.map(|host| reversed(&host)),
            net.map(|net| bytes(net.network()).to_vec()),
            net.map(|net| bytes(net.broadcast()).to_vec()),
            indicator.encode_to_vec(),
        ])
        .expect("a row");
        for label in &indicator.labels {
            labels.execute(params![label, id]).expect("a row");
        }
        for technique in &indicator.attack_techniques {
            techniques.execute(params![technique, id]).expect("a row");
            if let Some((parent, _)) = technique.split_once('.') {
                techniques.execute(params![parent, id]).expect("a row");
            }
        }
        for value in [value, hashes.md5, hashes.sha1, hashes.sha256, hashes.sha512] {
            if !value.is_empty() {
                known.execute(params![value, id]).expect("a row");
            }
        }
        let all =
            [&indicator.description, &indicator.labels.join(" "), &indicator.family, &indicator.campaign]
                .map(String::as_str)
                .join(" zqxjz ");
        // Its tokenizer keeps the bar of this letter; the hub takes it away.
        words.execute(params![id, all.replace('đ', "d").replace('Đ', "D")]).expect("a row");
    }
    drop((rows, labels, techniques, known, words));
    transaction.commit().expect("a commit");
    ids
}

const fn micros(at: &prost_types::Timestamp) -> i64 {
    at.seconds * 1_000_000 + at.nanos as i64 / 1_000
}

/// The host that an indicator's value has, but for addresses.
fn host_of(indicator: &v1::Indicator) -> Option<String> {
    use v1::observable::Value as Of;
    let host = match indicator.observable.as_ref()?.value.as_ref()? {
        Of::Domain(domain) => domain.clone(),
        Of::Url(url) => url::Url::parse(url).ok()?.host_str()?.to_owned(),
        Of::Email(email) => email.rsplit_once('@')?.1.to_owned(),
        Of::Endpoint(endpoint) => endpoint.rsplit_once(':')?.0.to_owned(),
        _ => return None,
    };
    host.parse::<IpAddr>().is_err().then_some(host)
}

/// The network that an indicator's value is, or lies in alone.
fn net_of(indicator: &v1::Indicator) -> Option<IpNet> {
    use v1::observable::Value as Of;
    match indicator.observable.as_ref()?.value.as_ref()? {
        Of::Ipv4(text) | Of::Ipv6(text) => text.parse::<IpAddr>().ok().map(IpNet::from),
        Of::Cidr(text) => text.parse().ok(),
        Of::Endpoint(text) => text.rsplit_once(':')?.0.parse::<IpAddr>().ok().map(IpNet::from),
        _ => None,
    }
}

fn bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The labels of a host from its end, so that what is below a domain is a
/// range.
fn reversed(host: &str) -> String {
    host.rsplit('.').fold(String::with_capacity(host.len() + 1), |text, label| text + label + ".")
}

/// A query and what is bound to it.
struct Query {
    text: String,
    values: Vec<Value>,
}

/// From which table, under which conditions, and in whose order of rows.
#[derive(Default)]
struct Parts {
    from: Vec<&'static str>,
    conditions: Vec<String>,
    values: Vec<Value>,
    state: Option<i64>,
    order: Option<&'static str>,
    group: bool,
}

fn query(ask: &Ask) -> Query {
    let mut parts = Parts::default();
    add(ask, &mut parts);
    let state = parts.state.unwrap_or(v1::IndicatorState::Active as i64);
    parts.conditions.push(format!("i.state = {state}"));
    let order = parts.order.unwrap_or("i.id");
    let group = if parts.group { format!("GROUP BY {order} ") } else { String::new() };
    let from = parts.from.iter().fold("indicator i".to_owned(), |from, table| format!("{from} JOIN {table}"));
    let text = format!(
        "SELECT i.body FROM {from} WHERE {} {group}ORDER BY {order} DESC LIMIT {PAGE}",
        parts.conditions.join(" AND ")
    );
    Query { text, values: parts.values }
}

fn add(ask: &Ask, parts: &mut Parts) {
    let micros = |seconds: i64| Value::from(seconds * 1_000_000);
    let mut is = |condition: &str, values: Vec<Value>| {
        parts.conditions.push(condition.to_owned());
        parts.values.extend(values);
    };
    match ask {
        Ask::All => {}
        Ask::Kind(kind) => is("i.kind = ?", vec![i64::from(i32::from(*kind)).into()]),
        Ask::Owner(slug) => is("i.owner = ?", vec![roster::name(slug).into()]),
        Ask::OrgKind(kind) => is("i.org_kind = ?", vec![(*kind).to_owned().into()]),
        Ask::Tlp(tlp) => is("i.tlp = ?", vec![i64::from(i32::from(*tlp)).into()]),
        Ask::State(state) => parts.state = Some(i64::from(i32::from(*state))),
        Ask::Role(role) => is("i.role = ?", vec![i64::from(i32::from(*role)).into()]),
        Ask::Action(action) => is("i.action = ?", vec![i64::from(i32::from(*action)).into()]),
        Ask::Family(family) => is("i.family = ?", vec![family.to_lowercase().into()]),
        Ask::Campaign(campaign) => is("i.campaign = ?", vec![campaign.to_lowercase().into()]),
        Ask::Confidence(min, max) => {
            is("i.confidence BETWEEN ? AND ?", vec![i64::from(*min).into(), i64::from(*max).into()]);
        }
        Ask::Added(from, to) => is("i.version >= ? AND i.version < ?", vec![micros(*from), micros(*to)]),
        Ask::Published(from, to) => is("i.created >= ? AND i.created < ?", vec![micros(*from), micros(*to)]),
        Ask::FirstSeen(from, to) => {
            is("i.first_seen >= ? AND i.first_seen < ?", vec![micros(*from), micros(*to)])
        }
        Ask::LastSeen(from, to) => {
            is("i.last_seen >= ? AND i.last_seen < ?", vec![micros(*from), micros(*to)])
        }
        Ask::ValidAt(at) => is(
            "coalesce(i.valid_from, i.created) <= ? AND (i.valid_until IS NULL OR i.valid_until > ?)",
            vec![micros(*at), micros(*at)],
        ),
        Ask::Exact(value) => {
            let (_, text, hashes) = flat(Some(v1::Observable { value: Some(value.clone()) }));
            let mut all = vec![text, hashes.md5, hashes.sha1, hashes.sha256, hashes.sha512];
            all.retain(|value| !value.is_empty());
            let marks = vec!["?"; all.len()].join(",");
            let condition = format!("i.id IN (SELECT id FROM known WHERE value IN ({marks}))");
            is(&condition, all.into_iter().map(Value::from).collect());
        }
        Ask::Prefix(text) => {
            let end = format!("{text}\u{10ffff}");
            is(
                "i.id IN (SELECT id FROM known WHERE value >= ? AND value < ?)",
                vec![text.clone().into(), end.into()],
            );
        }
        Ask::Suffix(domain) => {
            let (from, mut to) = (reversed(domain), reversed(domain));
            to.pop();
            to.push('/');
            is("i.host >= ? AND i.host < ?", vec![from.into(), to.into()]);
        }
        Ask::Inside(net) => {
            let net: IpNet = net.parse().expect("a network");
            let ends = [net.network(), net.broadcast()].map(|end| Value::from(bytes(end).to_vec()));
            let [from, to] = ends;
            is("i.lowest >= ? AND i.lowest <= ? AND i.highest <= ?", vec![from, to.clone(), to]);
        }
        Ask::Containing(address) => {
            let IpAddr::V4(address) = address.parse().expect("an address") else { panic!("IPv4 only") };
            let nets = (0..=32).map(|length| {
                ipnet::Ipv4Net::new(address, length).expect("a length").trunc().to_string().into()
            });
            let nets: Vec<Value> = nets.collect();
            let marks = vec!["?"; nets.len()].join(",");
            let cidr = i32::from(v1::ObservableKind::Cidr);
            is(&format!("i.kind = {cidr} AND i.value IN ({marks})"), nets);
        }
        Ask::SightedSince(at) => {
            is("i.id IN (SELECT id FROM sighting WHERE at >= ?)", vec![micros(*at)]);
        }
        Ask::Word(text) | Ask::Phrase(text) => {
            parts.from.push("words w ON w.rowid = i.id");
            parts.conditions.push("words MATCH ?".to_owned());
            parts.values.push(format!("\"{text}\"").into());
            parts.order = Some("w.rowid");
        }
        Ask::Label(label) => {
            parts.from.push("label l ON l.id = i.id");
            parts.conditions.push("l.label = ?".to_owned());
            parts.values.push(label.clone().into());
            parts.order = Some("l.id");
        }
        Ask::Technique(technique) => {
            parts.from.push("technique t ON t.id = i.id");
            parts.conditions.push("t.technique = ?".to_owned());
            parts.values.push(technique.clone().into());
            parts.order = Some("t.id");
        }
        Ask::SightedBy(slug) => {
            parts.from.push("sighting s ON s.id = i.id");
            parts.conditions.push("s.reporter = ?".to_owned());
            parts.values.push(roster::name(slug).into());
            (parts.order, parts.group) = (Some("s.id"), true);
        }
        Ask::Outcome(outcome) => {
            parts.from.push("sighting s ON s.id = i.id");
            parts.conditions.push("s.outcome = ?".to_owned());
            parts.values.push(i64::from(i32::from(*outcome)).into());
            (parts.order, parts.group) = (Some("s.id"), true);
        }
        Ask::Both(both) => {
            add(&both.0, parts);
            add(&both.1, parts);
        }
        Ask::Not(not) => match not.as_ref() {
            Ask::Label(label) => {
                is(
                    "NOT EXISTS (SELECT 1 FROM label n WHERE n.label = ? AND n.id = i.id)",
                    vec![label.clone().into()],
                );
            }
            other => panic!("no query is written for not {other:?}"),
        },
    }
}
