//! TLS as clients meet it: on the ports that are there anyway, with a certificate that may change.

mod rig;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rig::*;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Somebody who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key, in PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Writes a certificate for the broker where its settings look for it.
    fn certify(&self, folder: &Path) {
        let (certificate, key) = self.sign("localhost");
        std::fs::write(folder.join("certificate.pem"), certificate).unwrap();
        std::fs::write(folder.join("key.pem"), key).unwrap();
    }

    /// A client that trusts this authority, with a certificate of its own if it is given one.
    fn client(&self, own: Option<(String, String)>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        })
    }
}

type Secure = StreamOwned<ClientConnection, TcpStream>;

fn dial(running: &Running, listener: &str, config: &Arc<ClientConfig>) -> Secure {
    let socket = TcpStream::connect(running.address(listener)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), socket)
}

/// The answer to one request over a connection that ends with it.
fn ask(stream: &mut (impl Read + Write), line: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let length = body.len();
    write!(stream, "{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// The first bytes that an AMQP connection is answered with.
fn amqp(stream: &mut (impl Read + Write)) -> std::io::Result<[u8; 11]> {
    stream.write_all(b"AMQP\0\0\x09\x01")?;
    stream.flush()?;
    let mut start = [0; 11];
    stream.read_exact(&mut start)?;
    Ok(start)
}

/// A method frame of channel 0 with connection.start.
const START: [u8; 3] = [1, 0, 0];

fn start_with(folder: &Path, more: &[&str]) -> Running {
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (file("certificate.pem"), file("key.pem"));
    let arguments = ["--tls-certificate-file", &certificate, "--tls-key-file", &key];
    Running::start_with(folder, &[&arguments, more].concat())
}

#[test]
fn every_port_speaks_both_and_long_bodies_come_through_whole() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.certify(folder.path());
    let running = start_with(folder.path(), &[]);
    let client = authority.client(None);
    let https = |line: &str, body: &[u8]| ask(&mut dial(&running, "http", &client), line, body).unwrap();
    assert!(https("PUT /v1/topics/t", b"").starts_with(b"HTTP/1.1 201"));
    let long = vec![b'x'; 3 << 20];
    for _ in 0..3 {
        assert!(https("POST /v1/topics/t/messages?queue=0", &long).starts_with(b"HTTP/1.1 201"));
    }
    let read = https("GET /v1/topics/t/queues/0/messages?from=earliest&max=3", b"");
    assert!(read.len() > 2 * long.len(), "{} bytes", read.len());
    assert!(amqp(&mut dial(&running, "amqp", &client)).unwrap().starts_with(&START));
    let mut plain = TcpStream::connect(running.address("amqp")).unwrap();
    assert!(amqp(&mut plain).unwrap().starts_with(&START));
    assert_eq!(status(&mut running.request("GET /readyz", "")), 200);
    // A route query, and an answer with the same number.
    let mut remoting = dial(&running, "remoting", &client);
    let header =
        br#"{"code":105,"extFields":{"topic":"t"},"flag":0,"language":"JAVA","opaque":77,"version":401}"#;
    let mut frame = u32::try_from(header.len() + 4).unwrap().to_be_bytes().to_vec();
    frame.extend(u32::try_from(header.len()).unwrap().to_be_bytes());
    frame.extend(header);
    remoting.write_all(&frame).unwrap();
    let mut length = [0; 4];
    remoting.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    remoting.read_exact(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("\"opaque\":77"));
    // Who trusts somebody else is not served.
    let stranger = Authority::new().client(None);
    assert!(ask(&mut dial(&running, "http", &stranger), "GET /readyz", b"").is_err());
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn enforced_it_is_spoken_or_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.certify(folder.path());
    let running = start_with(folder.path(), &["--tls-mode", "enforcing"]);
    let client = authority.client(None);
    let answer = ask(&mut dial(&running, "http", &client), "GET /readyz", b"").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    for listener in ["http", "amqp", "remoting"] {
        let mut plain = TcpStream::connect(running.address(listener)).unwrap();
        plain.write_all(b"AMQP\0\0\x09\x01").unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{listener}");
    }
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn a_new_certificate_is_for_new_connections() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Authority::new(), Authority::new());
    first.certify(folder.path());
    let running = start_with(folder.path(), &[]);
    let mut open = dial(&running, "amqp", &first.client(None));
    assert!(amqp(&mut open).unwrap().starts_with(&START));
    let hang_up = || Command::new("kill").args(["-HUP", &running.child.id().to_string()]).status().unwrap();
    // Files that make no sense change nothing.
    std::fs::write(folder.path().join("certificate.pem"), "nonsense").unwrap();
    assert!(hang_up().success());
    second.certify(folder.path());
    assert!(ask(&mut dial(&running, "http", &first.client(None)), "GET /readyz", b"").is_ok());
    assert!(hang_up().success());
    let second = second.client(None);
    within_patience(|| ask(&mut dial(&running, "http", &second), "GET /readyz", b"").ok());
    assert!(ask(&mut dial(&running, "http", &first.client(None)), "GET /readyz", b"").is_err());
    // A frame that makes no sense is answered, so the old connection lives.
    open.write_all(&[9; 32]).unwrap();
    assert!(open.read(&mut [0; 64]).unwrap() > 0);
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn clients_may_be_asked_for_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.certify(folder.path());
    let file = folder.path().join("clients.pem");
    std::fs::write(&file, &authority.pem).unwrap();
    let running = start_with(folder.path(), &["--tls-client-ca-file", file.to_str().unwrap()]);
    let with = |own| ask(&mut dial(&running, "http", &authority.client(own)), "GET /readyz", b"");
    assert!(with(Some(authority.sign("client"))).unwrap().starts_with(b"HTTP/1.1 200"));
    assert!(with(None).is_err());
    assert!(with(Some(Authority::new().sign("client"))).is_err());
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn files_that_are_no_certificate_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.certify(folder.path());
    let (_, other) = authority.sign("other");
    for (name, text, named) in [
        ("certificate.pem", "nonsense", "tls-certificate-file"),
        ("key.pem", "nonsense", "tls-key-file"),
        ("key.pem", other.as_str(), "tls-key-file"),
    ] {
        authority.certify(folder.path());
        std::fs::write(folder.path().join(name), text).unwrap();
        let mut command = serve(folder.path());
        command.arg("--tls-certificate-file").arg(folder.path().join("certificate.pem"));
        command.arg("--tls-key-file").arg(folder.path().join("key.pem"));
        let (code, lines) = outcome(&mut command);
        assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
        assert!(lines[0].contains(named), "{lines:?}");
    }
}
