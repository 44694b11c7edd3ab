use std::{fmt, fs};

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::invalid;
use crate::Error;

/// How to trust the sidecar behind an `https` endpoint, and how to be trusted by it. Its `Debug` shows no key.
///
/// By default the platform's roots are trusted, the certificate must be for the endpoint's host, and no client certificate
/// is sent. Certificates are always checked.
///
/// ```no_run
/// use tower_dapr::outbound::{Dapr, Endpoint, Tls};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::new().root(std::fs::read("ca.pem")?).domain("sidecar.internal");
/// let endpoint: Endpoint = "https://10.0.0.7:50001".parse()?;
/// let dapr = Dapr::builder().endpoint(endpoint.tls(tls)).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Tls {
    /// PEM. None: those of the platform.
    roots: Vec<Vec<u8>>,
    /// Certificate and key, PEM.
    identity: Option<(Vec<u8>, Vec<u8>)>,
    domain: Option<String>,
}

impl Tls {
    /// The defaults.
    pub const fn new() -> Self {
        Self { roots: Vec::new(), identity: None, domain: None }
    }

    /// Trusts this certificate, or these (PEM), instead of the platform's roots. May be called again for more.
    pub fn root(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// The client's certificate chain and key, both PEM. PEM that cannot be read fails when the channel is made.
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// The name that the sidecar's certificate must be for. Defaults to the endpoint's host.
    pub fn domain(mut self, name: impl Into<String>) -> Self {
        self.domain = Some(name.into());
        self
    }

    pub(super) fn from_vars(var: impl Fn(&'static str) -> Option<String>) -> Result<Self, Error> {
        let file = |name| {
            let read = |path: String| fs::read(path.trim()).map_err(|error| invalid(name, &error.kind().to_string()));
            var(name).map(read).transpose()
        };
        if var("DAPR_GRPC_TLS_INSECURE").is_some_and(|value| !value.trim().eq_ignore_ascii_case("false")) {
            return Err(invalid("DAPR_GRPC_TLS_INSECURE", "certificates are always checked here"));
        }
        let roots = file("DAPR_GRPC_TLS_CA_PATH")?.into_iter().collect();
        let identity = match (file("DAPR_GRPC_TLS_CERT_PATH")?, file("DAPR_GRPC_TLS_KEY_PATH")?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(invalid("DAPR_GRPC_TLS_KEY_PATH", "it is missing beside the certificate")),
            (None, Some(_)) => return Err(invalid("DAPR_GRPC_TLS_CERT_PATH", "it is missing beside the key")),
        };
        Ok(Self { roots, identity, domain: None })
    }

    pub(super) fn client_config(&self) -> ClientTlsConfig {
        let mut config = ClientTlsConfig::new();
        config = if self.roots.is_empty() {
            config.with_native_roots()
        } else {
            config.ca_certificates(self.roots.iter().map(Certificate::from_pem))
        };
        if let Some((certificate, key)) = &self.identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        if let Some(domain) = &self.domain {
            config = config.domain_name(domain);
        }
        config
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("own_roots", &self.roots.len())
            .field("has_identity", &self.identity.is_some())
            .field("domain", &self.domain)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Tls;

    #[test]
    fn certificate_and_key_come_together_or_not_at_all() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let read = |names: &'static [&'static str]| {
            Tls::from_vars(|name| names.contains(&name).then(|| path.to_owned())).map_err(|error| error.to_string())
        };
        assert!(read(&["DAPR_GRPC_TLS_CERT_PATH"]).unwrap_err().contains("DAPR_GRPC_TLS_KEY_PATH"));
        assert!(read(&["DAPR_GRPC_TLS_KEY_PATH"]).unwrap_err().contains("DAPR_GRPC_TLS_CERT_PATH"));
        assert!(read(&["DAPR_GRPC_TLS_INSECURE"]).unwrap_err().contains("always checked"));
        let tls = read(&["DAPR_GRPC_TLS_CA_PATH", "DAPR_GRPC_TLS_CERT_PATH", "DAPR_GRPC_TLS_KEY_PATH"]).unwrap();
        assert_eq!(format!("{tls:?}"), "Tls { own_roots: 1, has_identity: true, domain: None }");
    }
}
