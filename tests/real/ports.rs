use std::{
    collections::HashSet,
    net::TcpListener,
    sync::{LazyLock, Mutex},
};

/// Below the range that Linux takes the ports of outgoing connections from: none of those can be in the way. What runs these
/// tests from within these tests gets ports of its own.
static RANGE: LazyLock<std::ops::Range<u16>> =
    LazyLock::new(|| if std::env::var_os(OTHER_PORTS).is_some() { 27_000..32_000 } else { 10_000..27_000 });

/// Set, it stands for another range than usually.
pub const OTHER_PORTS: &str = "TOWER_DAPR_OTHER_PORTS";

static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port of 127.0.0.1 that is free, and that this process gives away only once.
pub fn free_port() -> u16 {
    for _ in 0..10_000 {
        let random = u16::from_be_bytes(uuid::Uuid::new_v4().as_bytes()[..2].try_into().unwrap());
        let port = RANGE.start + random % (RANGE.end - RANGE.start);
        if TAKEN.lock().unwrap().insert(port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port from {} to {} is free", RANGE.start, RANGE.end);
}
