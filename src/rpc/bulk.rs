//! How many messages a bulk publish carries, read off the wire.

use super::{
    Rpc,
    wire::{Chunk, Value},
};

/// More entries than this are not counted: daprd's own limit of a request (4 MiB) is reached long before with payloads of
/// any use.
const MAX_ENTRIES: u64 = 10_000;

/// `BulkPublishRequest.entries`.
const ENTRIES: u32 = 3;

/// The entries of a bulk publish, as far as its first frame holds them. `None` of any other call, and if the frame is
/// compressed. Steps over values without reading them.
pub(crate) fn entries(rpc: &Rpc, first_frame: &[u8]) -> Option<u64> {
    if !rpc.method().starts_with("Bulk") {
        return None;
    }
    let mut message = Chunk::first_message(first_frame)?;
    let mut entries = 0;
    while entries < MAX_ENTRIES
        && let Ok(Some(field)) = message.next_field()
    {
        let is_cut = matches!(field.value, Value::Bytes(value) if value.is_cut());
        entries += u64::from(field.number == ENTRIES && !is_cut);
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use dapr::dapr::proto::runtime::v1::{BulkPublishRequest, BulkPublishRequestEntry};
    use prost::Message;

    use super::{Rpc, entries};

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &length[..], message].concat()
    }

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
            let mut frame = framed(&request.encode_to_vec());
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
        let endless = framed(&[0x1a, 0].repeat(1_000_000));
        assert_eq!(entries(bulk, &endless), Some(super::MAX_ENTRIES));
        for garbage in [&[0, 0, 0, 0, 0, 0xff][..], &[0, 0, 0, 0, 9, 0x1a, 0xff, 1], &[0, 0], &[]] {
            assert!(entries(bulk, garbage).unwrap_or_default() <= 1);
        }
    }
}
