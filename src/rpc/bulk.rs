//! How many messages a bulk publish carries, read off the wire.

use super::Rpc;

/// More entries than this are not counted: daprd's own limit of a request (4 MiB) is reached long before with payloads of
/// any use.
const MAX_ENTRIES: u64 = 10_000;

/// `BulkPublishRequest.entries`.
const ENTRIES: u64 = 3;

/// The entries of a bulk publish, as far as its first frame holds them. `None` of any other call, and if the frame is
/// compressed. Steps over values without reading them.
pub(crate) fn entries(rpc: &Rpc, first_frame: &[u8]) -> Option<u64> {
    if !rpc.method().starts_with("Bulk") {
        return None;
    }
    // The prefix of gRPC: not compressed, and four bytes of length.
    match first_frame.split_first_chunk() {
        Some(([0, _, _, _, _], message)) => Some(count(message)),
        _ => None,
    }
}

fn count(mut message: &[u8]) -> u64 {
    let mut entries = 0;
    while entries < MAX_ENTRIES {
        let Some(tag) = varint(&mut message) else { break };
        let length = match tag & 7 {
            0 => varint(&mut message).map(|_| 0),
            1 => Some(8),
            2 => varint(&mut message).and_then(|length| usize::try_from(length).ok()),
            5 => Some(4),
            _ => None,
        };
        let Some(rest) = length.and_then(|length| message.get(length..)) else { break };
        message = rest;
        entries += u64::from(tag >> 3 == ENTRIES);
    }
    entries
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use dapr::dapr::proto::runtime::v1::{BulkPublishRequest, BulkPublishRequestEntry};
    use prost::Message;

    use super::{Rpc, entries};

    #[test]
    fn entries_are_counted_and_nothing_else() {
        let bulk = Rpc::lookup("/dapr.proto.runtime.v1.Dapr/BulkPublishEvent").unwrap();
        for count in [0, 1, 250] {
            let entry = BulkPublishRequestEntry { entry_id: "1".into(), event: vec![7; 300], ..Default::default() };
            let request = BulkPublishRequest {
                pubsub_name: "pubsub".into(),
                topic: "orders".into(),
                entries: vec![entry; count],
                metadata: [("a".to_owned(), "b".to_owned())].into(),
            };
            let mut frame = vec![0; 5];
            frame.extend(request.encode_to_vec());
            assert_eq!(entries(bulk, &frame), Some(count as u64));
            frame[0] = 1; // compressed
            assert_eq!(entries(bulk, &frame), None);
        }
        let publish = Rpc::lookup("/dapr.proto.runtime.v1.Dapr/PublishEvent").unwrap();
        assert_eq!(entries(publish, &[0; 64]), None);
    }

    #[test]
    fn garbage_is_bounded() {
        let bulk = Rpc::lookup("/dapr.proto.runtime.v1.Dapr/BulkPublishEvent").unwrap();
        let endless: Vec<u8> = [0; 5].into_iter().chain([0x1a, 0].repeat(1_000_000)).collect();
        assert_eq!(entries(bulk, &endless), Some(super::MAX_ENTRIES));
        for garbage in [&[0, 0, 0, 0, 0, 0xff][..], &[0, 0, 0, 0, 9, 0x1a, 0xff, 1], &[0, 0], &[]] {
            assert!(entries(bulk, garbage).unwrap_or_default() <= 1);
        }
    }
}
