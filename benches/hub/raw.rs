//! Decides what the hub is compared with: the same bytes over the same TLS and
//! gRPC without a hub, and the same writes into RocksDB without one. Each in a
//! process of its own, as the hub is, so that its cost can be read alike.

use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use luytre::pki::directory::CLIENT_CA;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;
use tonic::metadata::MetadataMap;
use tonic::server::StreamingService;
use tonic::{Request, Response, Status, Streaming};

use super::process;
use super::wire::Raw;

/// Answers each message with as many bytes as `reply-bytes` says, and passes
/// it to everyone who listens.
pub const BIDI: &str = "/raw.Raw/Bidi";
/// Sends `chunks` messages of `chunk-bytes` each.
pub const STREAM: &str = "/raw.Raw/Stream";
/// Receives what others send to [`BIDI`].
pub const LISTEN: &str = "/raw.Raw/Listen";

/// This program again, in another part.
fn again(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(words).stdin(Stdio::null());
    command
}

/// A running server without a hub.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts one with the certificates in `pki`.
    pub async fn start(pki: &Path, beside: &Path) -> Self {
        let ready = beside.join("raw.ready");
        let mut child =
            again(&["--be-server"]).arg(pki).arg(&ready).spawn().expect("this program starts again");
        for _ in 0..500 {
            if let Some(address) = fs::read_to_string(&ready).ok().and_then(|text| text.trim().parse().ok()) {
                return Self { child, address };
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("the raw server did not start");
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The part `--be-server PKI READY`.
pub async fn serve(pki: &Path, ready: &Path) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(pki.join(CLIENT_CA)).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let clients =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
            .build();
    let chain = CertificateDer::pem_file_iter(pki.join("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(pki.join("server.key")).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(clients.unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    // As the hub, which lets nobody resume.
    config.send_tls13_tickets = 0;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    fs::write(ready, format!("{}\n", listener.local_addr().unwrap())).unwrap();
    let (relay, _) = broadcast::channel(1 << 14);
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let (acceptor, relay) = (acceptor.clone(), relay.clone());
        tokio::spawn(async move {
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let call = Call { path: request.uri().path().to_owned(), relay: relay.clone() };
                async move {
                    let mut grpc =
                        tonic::server::Grpc::new(Raw).apply_max_message_size_config(Some(64 << 20), None);
                    Ok::<_, Infallible>(grpc.streaming(call, request).await)
                }
            });
            // As the hub's own listener has them.
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(4 << 20)
                .max_concurrent_streams(1_000)
                .serve_connection(TokioIo::new(tls), service)
                .await;
        });
    }
}

struct Call {
    path: String,
    relay: broadcast::Sender<Bytes>,
}

type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl StreamingService<Bytes> for Call {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answers>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let number = |metadata: &MetadataMap, name: &str| -> usize {
            metadata.get(name).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or_default()
        };
        let metadata = request.metadata();
        let answers: Answers = match self.path.as_str() {
            BIDI => {
                let reply = Bytes::from(vec![7; number(metadata, "reply-bytes")]);
                let relay = self.relay.clone();
                let answers = request.into_inner().map(move |message| {
                    // Nobody may be listening.
                    message.map(|message| {
                        let _ = relay.send(message);
                        reply.clone()
                    })
                });
                Box::pin(answers)
            }
            STREAM => {
                let chunk = Bytes::from(vec![7; number(metadata, "chunk-bytes")]);
                let count = number(metadata, "chunks");
                Box::pin(futures_util::stream::iter((0..count).map(move |_| Ok(chunk.clone()))))
            }
            _ => {
                let heard = tokio_stream::wrappers::BroadcastStream::new(self.relay.subscribe());
                Box::pin(heard.filter_map(async |message| message.ok().map(Ok)))
            }
        };
        Box::pin(async { Ok(Response::new(answers)) })
    }
}

/// What a limit took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Items a second.
    pub rate: f64,
    /// Processor seconds for a million.
    pub cpu: f64,
}

/// Writes `items` values of `bytes` each from `writers` threads, `batch` in
/// one durable write; RocksDB joins what waits into groups.
pub fn rocksdb(beside: &Path, writers: usize, batch: usize, items: usize, bytes: usize) -> Cost {
    let directory = beside.join("raw.rocksdb");
    let words = [writers, batch, items, bytes].map(|number| number.to_string());
    let output =
        again(&["--be-rocksdb"]).arg(&directory).args(words).output().expect("this program starts again");
    let _ = fs::remove_dir_all(&directory);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
    let (Some(seconds), Some(cpu)) = (numbers.next(), numbers.next()) else {
        panic!("raw RocksDB: {text}{}", String::from_utf8_lossy(&output.stderr));
    };
    Cost { rate: items as f64 / seconds, cpu: cpu / (items as f64 / 1e6) }
}

/// The part `--be-rocksdb DIR WRITERS BATCH ITEMS BYTES`: prints seconds and
/// processor seconds.
pub fn write_rocksdb(directory: &Path, [writers, batch, items, bytes]: [usize; 4]) {
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    let db = rocksdb::DB::open(&options, directory).unwrap();
    let rounds = items / batch / writers;
    let before = process::cpu(std::process::id());
    let started = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let db = &db;
            scope.spawn(move || {
                let mut value = vec![0; bytes];
                let mut durable = rocksdb::WriteOptions::default();
                durable.set_sync(true);
                for round in 0..rounds {
                    let mut write = rocksdb::WriteBatch::default();
                    for place in 0..batch {
                        let key = super::items::mix((((writer << 32) + round * batch + place) as u64) ^ 7);
                        // Not all alike, so that nothing compresses away.
                        for part in value.chunks_exact_mut(16) {
                            part[..8].copy_from_slice(&key.to_be_bytes());
                        }
                        write.put(((writer << 32) + round * batch + place).to_be_bytes(), &value);
                    }
                    db.write_opt(write, &durable).unwrap();
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let cpu = process::cpu(std::process::id()).saturating_sub(before).as_secs_f64();
    println!("{seconds} {cpu}");
}

/// Median time of a small append that reaches the disk.
pub fn fdatasync(beside: &Path) -> Duration {
    use std::io::Write as _;
    let path = beside.join("raw.fdatasync");
    let mut file = fs::File::create(&path).unwrap();
    let mut spans: Vec<_> = (0..2_000)
        .map(|_| {
            let started = Instant::now();
            file.write_all(&[7; 512]).unwrap();
            file.sync_data().unwrap();
            started.elapsed()
        })
        .collect();
    let _ = fs::remove_file(path);
    spans.sort_unstable();
    spans[spans.len() / 2]
}
