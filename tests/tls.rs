//! TLS towards the sidecar: whose certificate is trusted, for which name, and who is let in.
#![allow(clippy::unwrap_used, reason = "a test may")]

use dapr::dapr::proto::runtime::v1::{
    HealthCheckResponse,
    app_callback_health_check_client::AppCallbackHealthCheckClient,
    app_callback_health_check_server::{AppCallbackHealthCheck, AppCallbackHealthCheckServer},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};
use tower_dapr::outbound::{Dapr, Endpoint, Tls};

/// Who issues the certificates of a test.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// PEM.
struct Issued {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }
}

struct Healthy;

#[tonic::async_trait]
impl AppCallbackHealthCheck for Healthy {
    async fn health_check(&self, _: Request<()>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse::default()))
    }
}

/// Serves as `localhost`; with `clients`, only who has a certificate of theirs. Returns its port.
async fn serve(authority: &Authority, clients: Option<&Authority>) -> u16 {
    let Issued { certificate, key } = authority.issue("localhost");
    let mut tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
    if let Some(clients) = clients {
        tls = tls.client_ca_root(Certificate::from_pem(&clients.pem));
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Server::builder().tls_config(tls).unwrap().add_service(AppCallbackHealthCheckServer::new(Healthy));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    port
}

/// The code of one call.
async fn call(endpoint: Endpoint) -> Code {
    let dapr = Dapr::builder().endpoint(endpoint).build().unwrap();
    let mut client = AppCallbackHealthCheckClient::new(dapr.grpc_channel("app").unwrap());
    client.health_check(()).await.map_or_else(|status| status.code(), |_| Code::Ok)
}

fn at(scheme: &str, host: &str, port: u16) -> Endpoint {
    format!("{scheme}://{host}:{port}").parse().unwrap()
}

#[tokio::test]
async fn a_certificate_is_trusted_if_its_issuer_and_its_name_are() {
    let authority = Authority::new();
    let port = serve(&authority, None).await;
    let trusting = || Tls::new().root(authority.pem.clone());
    assert_eq!(call(at("https", "localhost", port).tls(trusting())).await, Code::Ok);
    // The address is not what the certificate is for, unless one is told so.
    assert_eq!(call(at("https", "127.0.0.1", port).tls(trusting())).await, Code::Unavailable);
    assert_eq!(call(at("https", "127.0.0.1", port).tls(trusting().domain("localhost"))).await, Code::Ok);
    // Neither the platform nor another authority has issued it.
    assert_eq!(call(at("https", "localhost", port)).await, Code::Unavailable);
    let another = Tls::new().root(Authority::new().pem);
    assert_eq!(call(at("https", "localhost", port).tls(another)).await, Code::Unavailable);
    assert_ne!(call(at("http", "localhost", port)).await, Code::Ok, "in clear");
}

#[tokio::test]
async fn a_client_shows_its_certificate_where_it_is_asked_to() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let port = serve(&authority, Some(&clients)).await;
    let trusting = || Tls::new().root(authority.pem.clone());
    let with = |issued: Issued| trusting().identity(issued.certificate, issued.key);
    assert_eq!(call(at("https", "localhost", port).tls(with(clients.issue("app")))).await, Code::Ok);
    assert_ne!(call(at("https", "localhost", port).tls(trusting())).await, Code::Ok);
    assert_ne!(call(at("https", "localhost", port).tls(with(authority.issue("app")))).await, Code::Ok, "another's");
}

#[tokio::test]
async fn what_is_no_certificate_fails_before_anything_is_sent() {
    let broken = Tls::new().root("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----");
    let endpoint = at("https", "localhost", 1).tls(broken);
    let error = Dapr::builder().endpoint(endpoint).build().unwrap_err();
    assert!(error.to_string().contains("https://localhost:1"), "{error}");
}
