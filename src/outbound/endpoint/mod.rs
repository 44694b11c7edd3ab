use std::{env, fmt, time::Duration};

use tonic::transport::Channel;

use self::parse::Address;
use super::ApiToken;
use crate::Error;

mod parse;
#[cfg(feature = "tls")]
mod tls;

#[cfg(test)]
mod tests;

pub(in crate::outbound) use self::parse::parse_port;
#[cfg(feature = "tls")]
pub use self::tls::Tls;

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 50001;
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(30);
/// daprd closes the connection (ENHANCE_YOUR_CALM) to a client that pings more often than every 8 s
/// (`dapr/dapr:pkg/api/grpc/server.go`).
const MIN_KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the sidecar is, and how to reach it.
///
/// ```
/// use tower_dapr::outbound::Endpoint;
///
/// # fn main() -> Result<(), tower_dapr::Error> {
/// let endpoint: Endpoint = "dns:sidecar.example:50001".parse()?;
/// assert_eq!(endpoint.host(), "sidecar.example");
/// assert_eq!(endpoint.port(), Some(50001));
/// assert!(!endpoint.is_tls());
/// # Ok(())
/// # }
/// ```
///
/// # Forms
///
/// | form | meaning |
/// | --- | --- |
/// | `host`, `host:port`, `[::1]:port` | port 443 if none is given; no TLS |
/// | `dns:host:port`, `dns:///host:port`, `ipv4:..`, `ipv6:..` | the same |
/// | `http://host:port`, `https://host:port` | without and with TLS; ports 80 and 443 if none is given |
/// | `unix:/path`, `unix:///path` | a unix socket |
/// | any of them with `?tls=true` or `?tls=false` | TLS or not; a unix socket has none |
///
/// These are the forms of `DAPR_GRPC_ENDPOINT` in Dapr's other SDKs. Refused: paths, other parameters, a `tls` that
/// contradicts the scheme, a name server in `dns://`, `unix-abstract:`, `vsock:`.
///
/// # Environment
///
/// What [`from_env`](Self::from_env) reads. An empty variable counts as absent.
///
/// | variable | meaning |
/// | --- | --- |
/// | `DAPR_GRPC_ENDPOINT` | where the sidecar is, in one of the forms above |
/// | `DAPR_GRPC_PORT` | else: this port of `127.0.0.1`; without it, 50001 |
/// | `DAPR_CLIENT_TIMEOUT_SECONDS` | how long connecting may take (default 5) |
/// | `DAPR_GRPC_MAX_INBOUND_MESSAGE_SIZE_BYTES` | how large an answer may be (default 4 MiB) |
/// | `DAPR_GRPC_TLS_CA_PATH` | with feature `tls`: a PEM file of the roots to trust, instead of the platform's |
/// | `DAPR_GRPC_TLS_CERT_PATH`, `DAPR_GRPC_TLS_KEY_PATH` | with feature `tls`: PEM files of the client's certificate and key |
///
/// The names are those of Dapr's other SDKs. `DAPR_API_TOKEN` is read by [`Builder::build`](super::Builder::build).
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    address: Address,
    connect_timeout: Duration,
    keep_alive: Option<Duration>,
    max_inbound: Option<usize>,
    gzip: bool,
    #[cfg(feature = "tls")]
    tls: Tls,
}

impl Endpoint {
    /// The sidecar on this host.
    #[must_use]
    pub fn local(port: u16) -> Self {
        Self::at(Address { host: DEFAULT_HOST.to_owned(), port: Some(port), tls: false })
    }

    fn at(address: Address) -> Self {
        Self {
            address,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            keep_alive: Some(DEFAULT_KEEP_ALIVE),
            max_inbound: None,
            gzip: false,
            #[cfg(feature = "tls")]
            tls: Tls::new(),
        }
    }

    /// Reads the [environment](Self#environment).
    ///
    /// # Errors
    ///
    /// If a variable is set to what it cannot be; the message names it. With feature `tls`: if a file cannot be read, only
    /// one of certificate and key is named, or `DAPR_GRPC_TLS_INSECURE` asks for certificates not to be checked.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_vars(|name| env::var(name).ok())
    }

    /// As [`from_env`](Self::from_env), out of other variables than the process'.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let var = |name| var(name).filter(|value| !value.trim().is_empty());
        let mut endpoint = if let Some(text) = var("DAPR_GRPC_ENDPOINT") {
            Self::at(parse::parse("DAPR_GRPC_ENDPOINT", text.trim())?)
        } else if let Some(port) = var("DAPR_GRPC_PORT") {
            Self::local(parse_port("DAPR_GRPC_PORT", port.trim())?)
        } else {
            Self::local(DEFAULT_PORT)
        };
        if let Some(seconds) = var("DAPR_CLIENT_TIMEOUT_SECONDS") {
            endpoint.connect_timeout = match seconds.trim().parse::<u32>() {
                Ok(seconds) if seconds > 0 => Duration::from_secs(seconds.into()),
                _ => return Err(invalid("DAPR_CLIENT_TIMEOUT_SECONDS", "it is not a positive number of seconds")),
            };
        }
        if let Some(bytes) = var("DAPR_GRPC_MAX_INBOUND_MESSAGE_SIZE_BYTES") {
            endpoint.max_inbound = match bytes.trim().parse::<usize>() {
                Ok(bytes) if bytes > 0 => Some(bytes),
                _ => {
                    let variable = "DAPR_GRPC_MAX_INBOUND_MESSAGE_SIZE_BYTES";
                    return Err(invalid(variable, "it is not a positive number of bytes"));
                }
            };
        }
        #[cfg(feature = "tls")]
        if endpoint.address.tls {
            endpoint.tls = Tls::from_vars(var)?;
        }
        Ok(endpoint)
    }

    /// How long connecting may take. Defaults to 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How often to ask a silent sidecar for a sign of life while calls are under way; without an answer within 10 s they
    /// fail, and the next call connects again. Defaults to 30 s; `None` never asks. Less than 10 s becomes 10 s: daprd
    /// closes the connection to a client that asks more often than every 8 s.
    #[must_use]
    pub fn keep_alive(mut self, interval: Option<Duration>) -> Self {
        self.keep_alive = interval.map(|interval| interval.max(MIN_KEEP_ALIVE));
        self
    }

    /// How large an answer may be, in bytes; a larger one fails ([`Error::is_exhausted`]). Defaults to 4 MiB, which is
    /// also what daprd takes and gives unless its `--max-body-size` says otherwise. Used by [`Builder`](super::Builder).
    #[must_use]
    pub fn max_inbound_message_size(mut self, bytes: usize) -> Self {
        self.max_inbound = Some(bytes);
        self
    }

    /// How to trust the sidecar, and how to be trusted by it; if the endpoint [is TLS](Self::is_tls), else unused.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Compresses what is sent with gzip, and asks for the same. Defaults to no: a sidecar is on the same machine. Layers
    /// cannot read the names of components and topics in compressed messages, so spans and metrics are without them. Used by
    /// [`Builder`](super::Builder).
    #[cfg(feature = "gzip")]
    #[cfg_attr(docsrs, doc(cfg(feature = "gzip")))]
    #[must_use]
    pub fn gzip(mut self) -> Self {
        self.gzip = true;
        self
    }

    pub(super) const fn is_gzip(&self) -> bool {
        self.gzip
    }

    pub(super) const fn max_inbound(&self) -> Option<usize> {
        self.max_inbound
    }

    /// The host, or the path of the unix socket.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.address.host
    }

    /// The port; `None` for a unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.address.port
    }

    /// Is the connection encrypted?
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.address.tls
    }

    /// A channel that connects when it is first used, and again after the sidecar was gone.
    ///
    /// # Errors
    ///
    /// If the endpoint asks for TLS and this crate was built without feature `tls`: nothing is ever sent in clear instead.
    /// With it, if a unix socket is to speak TLS, or a certificate or key is none.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime (as tonic's `connect_lazy` does).
    pub fn connect_lazy(&self) -> Result<Channel, Error> {
        let uri = self.to_string();
        self.check(cfg!(feature = "tls"))?;
        let mut endpoint = tonic::transport::Endpoint::from_shared(uri.clone())
            .map_err(|error| Error::transport("connect to", &uri, error))?
            .connect_timeout(self.connect_timeout);
        if let Some(interval) = self.keep_alive {
            endpoint = endpoint.http2_keep_alive_interval(interval).keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        }
        #[cfg(feature = "tls")]
        if self.address.tls {
            let config = self.tls.client_config();
            endpoint = endpoint.tls_config(config).map_err(|error| Error::transport("connect to", &uri, error))?;
        }
        Ok(endpoint.connect_lazy())
    }

    fn check(&self, has_tls: bool) -> Result<(), Error> {
        if self.address.tls && !has_tls {
            let reason = "TLS is asked for, but tower-dapr was built without its feature `tls`";
            return Err(invalid(&self.to_string(), reason));
        }
        Ok(())
    }
}

impl std::str::FromStr for Endpoint {
    type Err = Error;

    /// # Errors
    ///
    /// If the text is none of the [forms](Endpoint#forms).
    fn from_str(text: &str) -> Result<Self, Error> {
        parse::parse("sidecar endpoint", text).map(Self::at)
    }
}

/// As a URI that tonic takes.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port, tls } = &self.address;
        match port {
            None => write!(f, "unix:{host}"),
            Some(port) => {
                let scheme = if *tls { "https" } else { "http" };
                write!(f, "{scheme}://{host}:{port}")
            }
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.to_string()).finish()
    }
}

/// Reads `DAPR_API_TOKEN`. An empty variable counts as absent.
pub(super) fn token_from_env() -> Result<Option<ApiToken>, Error> {
    env::var("DAPR_API_TOKEN").ok().filter(|token| !token.is_empty()).map(|token| ApiToken::new(&token)).transpose()
}

pub(super) fn invalid(source: &str, reason: &str) -> Error {
    Error::invalid("read endpoint", source, reason)
}
