use std::{collections::HashMap, time::Duration};

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
    for (variable, value) in [("DAPR_CLIENT_TIMEOUT_SECONDS", "0"), ("DAPR_GRPC_MAX_INBOUND_MESSAGE_SIZE_BYTES", "4Mi")]
    {
        let error = read(&[(variable, value)]).unwrap_err().to_string();
        assert!(error.contains(variable), "{error}");
    }
}

#[test]
fn tls_is_never_replaced_by_clear_text() {
    let endpoint: Endpoint = "https://sidecar".parse().unwrap();
    assert!(endpoint.check(false).unwrap_err().to_string().contains("feature `tls`"));
    assert!(endpoint.check(true).is_ok() && Endpoint::local(1).check(false).is_ok());
}

#[test]
fn keep_alive_is_never_what_daprd_punishes() {
    let endpoint = Endpoint::local(1);
    assert_eq!(endpoint.keep_alive, Some(Duration::from_secs(30)));
    assert_eq!(endpoint.clone().keep_alive(Some(Duration::from_secs(1))).keep_alive, Some(Duration::from_secs(10)));
    assert_eq!(endpoint.keep_alive(None).keep_alive, None);
}

#[test]
fn the_size_of_answers_is_read() {
    let endpoint = Endpoint::from_vars(|name| name.contains("MAX_INBOUND").then(|| "8388608".to_owned())).unwrap();
    assert_eq!(endpoint.max_inbound(), Some(8 << 20));
}
