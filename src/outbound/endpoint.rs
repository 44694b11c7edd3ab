use std::{env, fmt, time::Duration};

use tonic::transport::Channel;

use super::ApiToken;
use crate::Error;

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 50001;
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// No address is longer, and a longer one would be echoed in errors.
const MAX_LENGTH: usize = 1024;

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
/// | any of them with `?tls=true` or `?tls=false` | TLS or not |
///
/// These are the forms of `DAPR_GRPC_ENDPOINT` in Dapr's other SDKs. Refused: paths, other parameters, a `tls` that
/// contradicts the scheme, a name server in `dns://`, `unix-abstract:`, `vsock:`.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    /// `None` for a unix socket, whose path is the host.
    port: Option<u16>,
    tls: bool,
    connect_timeout: Duration,
}

impl Endpoint {
    /// The sidecar on this host.
    #[must_use]
    pub fn local(port: u16) -> Self {
        Self { host: DEFAULT_HOST.to_owned(), port: Some(port), tls: false, connect_timeout: DEFAULT_CONNECT_TIMEOUT }
    }

    /// Reads the environment: `DAPR_GRPC_ENDPOINT`; else `DAPR_GRPC_PORT` on `127.0.0.1`; else port 50001.
    /// `DAPR_CLIENT_TIMEOUT_SECONDS` is how long connecting may take (default 5). An empty variable counts as absent.
    ///
    /// # Errors
    ///
    /// If a variable is set to what it cannot be; the message names it.
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
            Self::parse("DAPR_GRPC_ENDPOINT", text.trim())?
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
        Ok(endpoint)
    }

    /// The host, or the path of the unix socket.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; `None` for a unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Is the connection encrypted?
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// A channel that connects when it is first used, and again after the sidecar was gone.
    ///
    /// # Errors
    ///
    /// If the endpoint asks for TLS and this crate was built without feature `tls`: nothing is ever sent in clear instead.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime (as tonic's `connect_lazy` does).
    pub fn connect_lazy(&self) -> Result<Channel, Error> {
        let uri = self.to_string();
        if self.tls && cfg!(not(feature = "tls")) {
            return Err(invalid(&uri, "TLS is asked for, but tower-dapr was built without its feature `tls`"));
        }
        let endpoint = tonic::transport::Endpoint::from_shared(uri.clone())
            .map_err(|error| Error::transport("connect to", &uri, error))?
            .connect_timeout(self.connect_timeout);
        #[cfg(feature = "tls")]
        let endpoint = if self.tls {
            endpoint
                .tls_config(tonic::transport::ClientTlsConfig::new().with_native_roots())
                .map_err(|error| Error::transport("connect to", &uri, error))?
        } else {
            endpoint
        };
        Ok(endpoint.connect_lazy())
    }

    fn parse(source: &str, text: &str) -> Result<Self, Error> {
        if text.len() > MAX_LENGTH {
            return Err(invalid(source, "it is longer than 1,024 bytes"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(invalid(source, "it holds white space or a control character"));
        }
        let (address, query) = match text.split_once('?') {
            Some((address, query)) => (address, Some(query)),
            None => (text, None),
        };
        let (scheme, rest) = split_scheme(address);
        let asked = query.map(|query| parse_tls(source, query)).transpose()?;
        let tls = match (scheme, asked) {
            ("https", Some(false)) => return Err(invalid(source, "`https` contradicts `tls=false`")),
            ("http", Some(true)) => return Err(invalid(source, "`http` contradicts `tls=true`")),
            ("https", _) => true,
            (_, asked) => asked.unwrap_or(false),
        };
        let (host, port) = match scheme {
            "unix" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() {
                    return Err(invalid(source, "the path of the unix socket is missing"));
                }
                (path.to_owned(), None)
            }
            "" | "dns" | "ipv4" | "ipv6" | "http" | "https" => {
                let default = if scheme == "http" { 80 } else { 443 };
                let (host, port) = parse_authority(source, authority(source, scheme, rest)?)?;
                (host, Some(port.unwrap_or(default)))
            }
            _ => return Err(invalid(source, "its scheme is not one of dns, http, https, ipv4, ipv6, unix")),
        };
        Ok(Self { host, port, tls, connect_timeout: DEFAULT_CONNECT_TIMEOUT })
    }
}

impl std::str::FromStr for Endpoint {
    type Err = Error;

    /// # Errors
    ///
    /// If the text is none of the [forms](Endpoint#forms).
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse("sidecar endpoint", text)
    }
}

/// As a URI that tonic takes.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => write!(f, "unix:{}", self.host),
            Some(port) => {
                let scheme = if self.tls { "https" } else { "http" };
                write!(f, "{scheme}://{}:{port}", self.host)
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

/// `scheme:rest`. A bare `host:port` has no scheme.
fn split_scheme(address: &str) -> (&str, &str) {
    const SCHEMES: [&str; 8] = ["dns", "http", "https", "ipv4", "ipv6", "unix", "unix-abstract", "vsock"];
    match address.split_once(':') {
        // `dns` alone may be a host with a port: `dns:50001` is a host of that name only if it were not a scheme; as in
        // gRPC's own naming, the scheme wins.
        Some((scheme, rest)) if SCHEMES.contains(&scheme) || rest.starts_with("//") => (scheme, rest),
        _ => ("", address),
    }
}

/// What stands for host and port behind the scheme.
fn authority<'a>(source: &str, scheme: &str, rest: &'a str) -> Result<&'a str, Error> {
    match (scheme, rest.strip_prefix("//")) {
        ("dns", Some(rest)) => match rest.split_once('/') {
            Some(("", target)) => Ok(target),
            Some(_) => Err(invalid(source, "a name server of its own (`dns://server/host`) is not supported")),
            None => Ok(rest),
        },
        ("http" | "https", None) => Err(invalid(source, "`//` is missing behind its scheme")),
        (_, Some(rest)) => Ok(rest.strip_suffix('/').unwrap_or(rest)),
        (_, None) => Ok(rest),
    }
}

fn parse_authority(source: &str, text: &str) -> Result<(String, Option<u16>), Error> {
    if text.contains('@') {
        return Err(invalid(source, "it holds user information"));
    }
    if text.contains(['/', '#']) {
        return Err(invalid(source, "it holds a path"));
    }
    let (host, port) = if let Some(end) = text.strip_prefix('[').and_then(|rest| rest.find(']')) {
        let (host, rest) = text.split_at(end + 2);
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(invalid(source, "there is text behind the IPv6 address")),
        }
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(invalid(source, "an IPv6 address must stand in brackets"));
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return Err(invalid(source, "the host is missing"));
    }
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(invalid(source, "what stands in brackets is no IPv6 address"));
        }
    } else if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')) {
        return Err(invalid(source, "the host holds a character that no host name has"));
    }
    let port = port.map(|port| parse_port(source, port)).transpose()?;
    Ok((host.to_owned(), port))
}

fn parse_port(source: &str, text: &str) -> Result<u16, Error> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err(invalid(source, "the port is not a number from 1 to 65535")),
    }
}

fn parse_tls(source: &str, query: &str) -> Result<bool, Error> {
    match query {
        "tls=true" => Ok(true),
        "tls=false" => Ok(false),
        _ => Err(invalid(source, "behind the `?` only `tls=true` or `tls=false` may stand")),
    }
}

fn invalid(source: &str, reason: &str) -> Error {
    Error::invalid("read endpoint", source, reason)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::Endpoint;

    #[test]
    fn every_form_is_read() {
        for (text, uri) in [
            ("sidecar", "http://sidecar:443"),
            ("sidecar:50001", "http://sidecar:50001"),
            ("sidecar:50001?tls=true", "https://sidecar:50001"),
            ("127.0.0.1:50001", "http://127.0.0.1:50001"),
            ("[::1]:50001", "http://[::1]:50001"),
            ("[::1]", "http://[::1]:443"),
            ("dns:sidecar:50001", "http://sidecar:50001"),
            ("dns:///sidecar:50001?tls=false", "http://sidecar:50001"),
            ("ipv4:10.0.0.1:1", "http://10.0.0.1:1"),
            ("ipv6:[::1]:1", "http://[::1]:1"),
            ("http://sidecar", "http://sidecar:80"),
            ("http://sidecar:1/", "http://sidecar:1"),
            ("https://sidecar", "https://sidecar:443"),
            ("https://sidecar:443?tls=true", "https://sidecar:443"),
            ("unix:/run/dapr.sock", "unix:/run/dapr.sock"),
            ("unix:///run/dapr.sock", "unix:/run/dapr.sock"),
        ] {
            assert_eq!(text.parse::<Endpoint>().map(|endpoint| endpoint.to_string()).unwrap(), uri, "{text}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "the host is missing"),
            (":50001", "the host is missing"),
            ("sidecar:0", "the port"),
            ("sidecar:65536", "the port"),
            ("sidecar:+1", "the port"),
            ("sidecar:", "the port"),
            ("::1", "in brackets"),
            ("[::g]:1", "no IPv6 address"),
            ("[::1]x", "behind the IPv6"),
            ("http:sidecar", "`//` is missing"),
            ("http://sidecar/path", "a path"),
            ("http://user:secret@sidecar", "user information"),
            ("http://sidecar?tls=true", "contradicts"),
            ("https://sidecar?tls=false", "contradicts"),
            ("sidecar?tls=yes", "only `tls=true`"),
            ("sidecar?x=1", "only `tls=true`"),
            ("dns://8.8.8.8/sidecar", "name server"),
            ("vsock:1:2", "scheme"),
            ("unix-abstract:x", "scheme"),
            ("ftp://sidecar", "scheme"),
            ("unix:", "path of the unix socket"),
            ("side car", "white space"),
            ("sidecar\n", "white space"),
            ("sidecär", "no host name"),
            (&"a".repeat(2_000), "longer"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
            assert!(!error.contains("secret") && error.len() < 400, "{error}");
        }
    }

    #[test]
    fn the_environment_is_read_in_its_order() {
        let read = |vars: &[(&str, &str)]| {
            let vars: HashMap<_, _> = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Endpoint::from_vars(|name| vars.get(name).cloned()).map(|endpoint| endpoint.to_string())
        };
        assert_eq!(read(&[]).unwrap(), "http://127.0.0.1:50001");
        assert_eq!(read(&[("DAPR_GRPC_PORT", "3")]).unwrap(), "http://127.0.0.1:3");
        assert_eq!(read(&[("DAPR_GRPC_PORT", "")]).unwrap(), "http://127.0.0.1:50001");
        assert_eq!(read(&[("DAPR_GRPC_PORT", "3"), ("DAPR_GRPC_ENDPOINT", "a:4")]).unwrap(), "http://a:4");
        let error = read(&[("DAPR_GRPC_PORT", "many")]).unwrap_err().to_string();
        assert!(error.contains("DAPR_GRPC_PORT"), "{error}");
        let error = read(&[("DAPR_CLIENT_TIMEOUT_SECONDS", "0")]).unwrap_err().to_string();
        assert!(error.contains("DAPR_CLIENT_TIMEOUT_SECONDS"), "{error}");
    }

    #[cfg(not(feature = "tls"))]
    #[tokio::test]
    async fn tls_is_never_replaced_by_clear_text() {
        let endpoint: Endpoint = "https://sidecar".parse().unwrap();
        assert!(endpoint.connect_lazy().unwrap_err().to_string().contains("feature `tls`"));
    }
}
