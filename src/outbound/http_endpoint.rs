use std::{env, fmt};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

use super::endpoint::parse_port;
use crate::Error;

const DEFAULT_PORT: u16 = 3500;

/// Where the sidecar's HTTP API is.
///
/// ```
/// use tower_dapr::outbound::HttpEndpoint;
///
/// # fn main() -> Result<(), tower_dapr::Error> {
/// let endpoint: HttpEndpoint = "http://localhost:3500".parse()?;
/// assert_eq!(endpoint.to_string(), "http://localhost:3500");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct HttpEndpoint {
    scheme: Scheme,
    authority: Authority,
}

impl HttpEndpoint {
    /// The sidecar on this host.
    #[must_use]
    pub fn local(port: u16) -> Self {
        let authority = format!("127.0.0.1:{port}").try_into().expect("an address and a port are an authority");
        Self { scheme: Scheme::HTTP, authority }
    }

    /// Reads the environment: `DAPR_HTTP_ENDPOINT`; else `DAPR_HTTP_PORT` on `127.0.0.1`; else there is none. An empty
    /// variable counts as absent.
    ///
    /// # Errors
    ///
    /// If the endpoint is no `http://` or `https://` URI without a path, or the port no port; the message names the
    /// variable.
    pub fn from_env() -> Result<Option<Self>, Error> {
        Self::from_vars(|name| env::var(name).ok())
    }

    /// As [`from_env`](Self::from_env), out of other variables than the process'.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let var = |name| var(name).filter(|value| !value.trim().is_empty());
        if let Some(text) = var("DAPR_HTTP_ENDPOINT") {
            Self::parse("DAPR_HTTP_ENDPOINT", text.trim()).map(Some)
        } else if let Some(port) = var("DAPR_HTTP_PORT") {
            parse_port("DAPR_HTTP_PORT", port.trim()).map(|port| Some(Self::local(port)))
        } else {
            Ok(None)
        }
    }

    /// Is the connection encrypted?
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The URI of this path and query. `None` if it is none.
    pub(super) fn uri(&self, path_and_query: &str) -> Option<Uri> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path_and_query)
            .build()
            .ok()
    }

    fn parse(source: &str, text: &str) -> Result<Self, Error> {
        let invalid = |reason: &str| Error::invalid("read endpoint", source, reason);
        let parts = text.parse::<Uri>().map_err(|_| invalid("it is not a URI"))?.into_parts();
        let scheme = parts.scheme.ok_or_else(|| invalid("it does not start with `http://` or `https://`"))?;
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(invalid("it does not start with `http://` or `https://`"));
        }
        let authority = parts.authority.ok_or_else(|| invalid("the host is missing"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("it holds user information"));
        }
        if parts.path_and_query.is_some_and(|path| path != "/") {
            return Err(invalid("it holds a path"));
        }
        Ok(Self { scheme, authority })
    }
}

/// Port 3500 of this host, daprd's default.
impl Default for HttpEndpoint {
    fn default() -> Self {
        Self::local(DEFAULT_PORT)
    }
}

impl std::str::FromStr for HttpEndpoint {
    type Err = Error;

    /// # Errors
    ///
    /// If the text is no `http://` or `https://` URI, or holds user information or a path.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse("sidecar endpoint", text)
    }
}

/// As a URI.
impl fmt::Display for HttpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl fmt::Debug for HttpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpEndpoint").field(&self.to_string()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::HttpEndpoint;

    #[test]
    fn the_environment_is_read_in_its_order() {
        let read = |endpoint: &'static str, port: &'static str| {
            let found = HttpEndpoint::from_vars(|name| {
                Some(if name == "DAPR_HTTP_ENDPOINT" { endpoint.to_owned() } else { port.to_owned() })
            });
            found.map(|found| found.map(|found| found.to_string())).map_err(|error| error.to_string())
        };
        assert_eq!(read("", ""), Ok(None));
        assert_eq!(read("", "3501"), Ok(Some("http://127.0.0.1:3501".to_owned())));
        assert_eq!(read("https://dapr.example/", "3501"), Ok(Some("https://dapr.example".to_owned())));
        assert!(read("", "x").unwrap_err().contains("DAPR_HTTP_PORT"));
        for (text, reason) in [
            ("dapr.example", "http://"),
            ("ftp://dapr.example", "http://"),
            ("http://user:s3cret@dapr.example", "user information"),
            ("http://dapr.example/v1.0", "a path"),
            ("http:// ", "not a URI"),
        ] {
            let error = read(text, "").unwrap_err();
            assert!(error.contains(reason) && error.contains("DAPR_HTTP_ENDPOINT"), "{text}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
