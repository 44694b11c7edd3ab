use super::invalid;
use crate::Error;

/// No address is longer, and a longer one would be echoed in errors.
const MAX_LENGTH: usize = 1024;

/// Where a sidecar is.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    /// `None` for a unix socket, whose path is the host.
    pub(super) port: Option<u16>,
    pub(super) tls: bool,
}

/// Reads one of the forms of an [`Endpoint`](super::Endpoint); `source` names the text in errors.
pub(super) fn parse(source: &str, text: &str) -> Result<Address, Error> {
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
    Ok(Address { host, port, tls })
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

pub(in crate::outbound) fn parse_port(source: &str, text: &str) -> Result<u16, Error> {
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
