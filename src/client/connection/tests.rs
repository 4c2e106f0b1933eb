//! The connection against servers of every sort.

mod tls {
    use std::path::Path;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    };
    use std::io;

    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{NamedGroup, ProtocolVersion, RootCertStore, ServerConfig};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::client::TlsStream;
    use tower::Service as _;

    use super::super::*;
    use crate::base::tasks;
    use crate::pki::tls::ALPN;

    struct Ca(CertifiedIssuer<'static, KeyPair>);

    impl Ca {
        fn new() -> Self {
            let mut params = CertificateParams::new([]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
        }

        fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().unwrap();
            (params.signed_by(&key, &self.0).unwrap(), key)
        }

        /// Writes a new certificate of ours into `dir`.
        fn enrol(&self, dir: &Path) -> CertificateDer<'static> {
            let (certificate, key) = self.issue("us.example", ExtendedKeyUsagePurpose::ClientAuth);
            std::fs::write(dir.join("me.pem"), certificate.pem()).unwrap();
            std::fs::write(dir.join("me.key"), key.serialize_pem()).unwrap();
            certificate.der().clone()
        }
    }

    /// What the hub saw of a connection.
    #[derive(Debug, PartialEq)]
    struct Seen {
        certificate: CertificateDer<'static>,
        version: ProtocolVersion,
        group: NamedGroup,
        kind: rustls::HandshakeKind,
    }

    /// A hub for handshakes, and a connector to it.
    struct Scene {
        dir: tempfile::TempDir,
        ca: Ca,
        connector: Connector,
        seen: tokio::sync::mpsc::Receiver<Seen>,
    }

    async fn scene(alpn: &[&[u8]], name: &str) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::new();
        std::fs::write(dir.path().join("ca.pem"), ca.0.pem()).unwrap();
        ca.enrol(dir.path());
        let (certificate, key) = ca.issue("hub.example", ExtendedKeyUsagePurpose::ServerAuth);
        let mut roots = RootCertStore::empty();
        roots.add(ca.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let (out, seen) = tokio::sync::mpsc::channel(4);
        tasks::spawn("handshakes", async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
                // After the tickets that a client could resume with.
                // A client that is content with the handshake is gone by now.
                let _ = stream.write_all(b"!").await;
                let _ = stream.flush().await;
                let tls = stream.get_ref().1;
                let now = Seen {
                    certificate: tls.peer_certificates().unwrap()[0].clone(),
                    version: tls.protocol_version().unwrap(),
                    group: tls.negotiated_key_exchange_group().unwrap().name(),
                    kind: tls.handshake_kind().unwrap(),
                };
                out.send(now).await.unwrap();
            }
        });
        let identity = Identity::from_files(dir.path().join("me.pem"), dir.path().join("me.key")).unwrap();
        let connector = Connector(Arc::new(Target {
            host: address.ip().to_string(),
            port: address.port(),
            name: ServerName::try_from(name.to_owned()).unwrap(),
            terms: Terms::Files(Tls::open(dir.path().join("ca.pem"), identity).unwrap()),
        }));
        Scene { dir, ca, connector, seen }
    }

    impl Scene {
        async fn connect(&mut self) -> io::Result<TlsStream<TcpStream>> {
            Ok(self.connector.call(Uri::from_static("http://hub.example")).await?.into_inner())
        }
    }

    #[tokio::test]
    async fn a_connection_is_tls_1_3_with_hybrid_key_exchange_and_never_resumed() {
        let mut scene = scene(&[ALPN], "hub.example").await;
        for _ in 0..2 {
            let mut stream = scene.connect().await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
            let seen = scene.seen.recv().await.unwrap();
            assert_eq!(seen.version, ProtocolVersion::TLSv1_3);
            assert_eq!(seen.group, NamedGroup::X25519MLKEM768);
            assert_eq!(seen.kind, rustls::HandshakeKind::Full);
        }
    }

    #[tokio::test]
    async fn the_next_connection_shows_the_renewed_certificate() {
        let mut scene = scene(&[ALPN], "hub.example").await;
        scene.connect().await.unwrap();
        let old = scene.seen.recv().await.unwrap().certificate;
        let renewed = scene.ca.enrol(scene.dir.path());
        scene.connect().await.unwrap();
        let shown = scene.seen.recv().await.unwrap().certificate;
        assert_ne!(shown, old);
        assert_eq!(shown, renewed);
    }

    #[tokio::test]
    async fn a_renewal_that_cannot_be_used_leaves_the_old_certificate_in_use() {
        let mut scene = scene(&[ALPN], "hub.example").await;
        scene.connect().await.unwrap();
        let old = scene.seen.recv().await.unwrap().certificate;
        std::fs::write(scene.dir.path().join("me.key"), "torn").unwrap();
        std::fs::write(scene.dir.path().join("ca.pem"), "torn").unwrap();
        scene.connect().await.unwrap();
        assert_eq!(scene.seen.recv().await.unwrap().certificate, old);
    }

    #[tokio::test]
    async fn a_hub_of_another_authority_is_refused_until_that_one_is_trusted() {
        let mut scene = scene(&[ALPN], "hub.example").await;
        let bundle = scene.dir.path().join("ca.pem");
        let good = std::fs::read(&bundle).unwrap();
        std::fs::write(&bundle, Ca::new().0.pem()).unwrap();
        let error = scene.connect().await.unwrap_err();
        assert!(error.to_string().contains("invalid peer certificate"), "{error}");
        std::fs::write(&bundle, good).unwrap();
        scene.connect().await.unwrap();
    }

    #[tokio::test]
    async fn a_client_certificate_that_the_hub_refuses_ends_call_and_subscriber_at_once() {
        use crate::client::{Start, Subscribe};
        let scene = scene(&[ALPN], "hub.example").await;
        Ca::new().enrol(scene.dir.path());
        let connection =
            Connection::over(Uri::from_static("http://hub.example"), "hub:1", scene.connector.clone());
        let error = connection.client().whoami().await.unwrap_err();
        assert!(matches!(&error, Error::Unaccepted { .. }), "{error:?}");
        assert!(error.to_string().contains("no authority that the hub trusts"), "{error}");
        let mut subscription = connection.client().subscribe(Subscribe::from(Start::Earliest));
        let error = subscription.next().await.unwrap_err();
        assert!(matches!(&error, Error::Unaccepted { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_subscriber_without_end_ends_at_a_hub_that_it_cannot_trust() {
        use crate::client::{Start, Subscribe};
        let scene = scene(&[ALPN], "other.example").await;
        let connection =
            Connection::over(Uri::from_static("http://hub.example"), "hub:1", scene.connector.clone());
        let mut subscription = connection.client().subscribe(Subscribe::from(Start::Earliest));
        let error = subscription.next().await.unwrap_err();
        assert!(matches!(&error, Error::Untrusted { .. }), "{error:?}");
        assert!(error.to_string().contains("not valid for name"), "{error}");
    }

    #[tokio::test]
    async fn a_certificate_for_another_name_is_refused() {
        let error = scene(&[ALPN], "other.example").await.connect().await.unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_does_not_speak_http_2_is_refused() {
        let error = scene(&[], "hub.example").await.connect().await.unwrap_err();
        assert!(error.to_string().contains("no ALPN h2"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_speaks_plaintext_is_refused() {
        let mut scene = scene(&[ALPN], "hub.example").await;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Arc::get_mut(&mut scene.connector.0).unwrap().port = listener.local_addr().unwrap().port();
        tasks::spawn("plain", async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        });
        scene.connect().await.unwrap_err();
    }
}
