//! The table of Dapr's calls is complete, and the names it points at are the ones that prost encodes.

use std::collections::{BTreeSet, HashMap};

use dapr::dapr::proto::{
    common::v1::{Etag, InvokeRequest, StateItem, StateOptions},
    runtime::v1::{subscribe_topic_events_request_alpha1::SubscribeTopicEventsRequestType as Subscribe, *},
};
use proptest::prelude::*;
use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, encode_key, encode_varint, skip_field},
};
use tower_dapr::rpc::{BuildingBlock, NameKind, Names, Rpc, Safety, Streaming};

// ===== The table =====

#[test]
fn has_every_call_of_the_generated_code_and_one_more() {
    let table: Vec<_> = Rpc::all().map(Rpc::path).collect();
    let mut expected: Vec<_> = GENERATED.to_vec();
    expected.push("/dapr.proto.runtime.v1.Dapr/SubscribeActorEventsAlpha1");
    expected.sort_unstable();
    assert_eq!(table, expected);
    assert_eq!(table.iter().collect::<BTreeSet<_>>().len(), 99, "no path comes twice");
}

#[test]
fn finds_every_row_by_its_path() {
    for rpc in Rpc::all() {
        assert_eq!(Rpc::lookup(rpc.path()).map(Rpc::path), Some(rpc.path()));
    }
}

#[test]
fn finds_nothing_by_any_other_path() {
    for path in [
        "",
        "/",
        "/dapr.proto.runtime.v1.Dapr/",
        "/dapr.proto.runtime.v1.Dapr/getstate",
        "/dapr.proto.runtime.v1.Dapr/GetStates",
        "/dapr.proto.runtime.v1.Dapr/GetStat",
        "/dapr.proto.runtime.v1.AppCallback/GetState",
        "dapr.proto.runtime.v1.Dapr/GetState",
        "/dapr.proto.runtime.v1.Dapr/GetState/",
        "/dapr.proto.runtime.v2.Dapr/GetState",
        "/dapr.proto.internals.v1.ServiceInvocation/CallLocal",
        "/orders.v1.Orders/GetState",
    ] {
        assert_eq!(Rpc::lookup(path), None, "{path}");
    }
}

#[test]
fn finds_nothing_by_a_path_that_differs_in_one_character() {
    for rpc in Rpc::all() {
        for at in 0..rpc.path().len() {
            let mut path = rpc.path().as_bytes().to_vec();
            path[at] ^= 1;
            let path = String::from_utf8(path).unwrap();
            assert_eq!(
                Rpc::lookup(&path).map(Rpc::path),
                Rpc::all().map(Rpc::path).find(|other| *other == path),
                "{path}"
            );
        }
    }
}

#[test]
fn finds_nothing_by_the_beginning_of_one_path_and_the_end_of_another() {
    let table: BTreeSet<_> = Rpc::all().map(Rpc::path).collect();
    for (a, b) in Rpc::all().flat_map(|a| Rpc::all().map(move |b| (a.path(), b.path()))) {
        for end in 1..b.len() {
            // As long as the second, and then as long as both allow.
            for beginning in [b.len() - end, a.len()].map(|beginning| beginning.min(a.len())) {
                let path = format!("{}{}", &a[..beginning], &b[b.len() - end..]);
                assert_eq!(Rpc::lookup(&path).map(Rpc::path), table.get(&*path).copied(), "{path}");
            }
        }
    }
}

#[test]
fn splits_the_path_into_service_and_method() {
    for rpc in Rpc::all() {
        assert_eq!(format!("/{}/{}", rpc.service(), rpc.method()), rpc.path());
        assert_eq!(format!("/{}", rpc.full_method()), rpc.path());
    }
    let rpc = row("Dapr/GetState");
    assert_eq!((rpc.service(), rpc.method()), ("dapr.proto.runtime.v1.Dapr", "GetState"));
}

#[test]
fn knows_the_streams() {
    for rpc in Rpc::all() {
        let streaming = match rpc.method() {
            "SubscribeConfiguration" | "SubscribeConfigurationAlpha1" => Streaming::ServerStream,
            "SubscribeTopicEventsAlpha1" | "SubscribeActorEventsAlpha1" | "EncryptAlpha1" | "DecryptAlpha1" => {
                Streaming::Bidi
            }
            _ => Streaming::Unary,
        };
        assert_eq!(rpc.streaming(), streaming, "{}", rpc.path());
        assert_eq!(rpc.safety() == Safety::Stream, streaming != Streaming::Unary, "{}", rpc.path());
    }
}

#[test]
fn a_name_has_a_kind_and_a_place_or_neither() {
    for rpc in Rpc::all() {
        assert_eq!(rpc.name_kind() == NameKind::None, rpc.component_field().is_empty(), "{}", rpc.path());
        let has_topic = rpc.name_kind() == NameKind::Component && rpc.block() == BuildingBlock::Pubsub;
        assert_eq!(has_topic, !rpc.destination_field().is_empty(), "{}", rpc.path());
    }
    assert_eq!(row("Dapr/InvokeService").name_kind(), NameKind::AppId);
    assert_eq!(row("Dapr/InvokeActor").name_kind(), NameKind::ActorType);
    // A job's name and an invoked method are as many as the application likes.
    assert_eq!(row("AppCallback/OnJobEvent").name_kind(), NameKind::None);
    assert_eq!(row("AppCallback/OnInvoke").name_kind(), NameKind::None);
}

#[test]
fn classes_are_those_of_what_daprd_does() {
    for (safety, methods) in [
        (Safety::Read, "GetState GetBulkSecret GetWorkflowBeta1 ListJobs SubtleSignAlpha1 GetMetadata GetActorState"),
        (Safety::IdempotentWrite, "SaveState DeleteJob SetMetadata PauseWorkflowBeta1 UnregisterActorTimer"),
        (Safety::ConditionalWrite, "UnlockAlpha1 ScheduleJob CreateIndexAlpha1"),
        (Safety::Publish, "PublishEvent BulkPublishEvent BulkPublishEventAlpha1"),
        (Safety::Effect, "InvokeService InvokeActor InvokeBinding TryLockAlpha1 ConverseAlpha2 StartWorkflowBeta1"),
        (Safety::Effect, "RaiseEventWorkflowBeta1 ExecuteActorStateTransaction"),
        (Safety::Never, "Shutdown"),
    ] {
        for method in methods.split_whitespace() {
            assert_eq!(row(&format!("Dapr/{method}")).safety(), safety, "{method}");
        }
    }
    let never = Rpc::all().filter(|rpc| rpc.safety() == Safety::Never);
    assert_eq!(never.map(Rpc::method).collect::<Vec<_>>(), ["Shutdown"]);
    // An alpha or beta form is the same call.
    for rpc in Rpc::all() {
        let stable = rpc.path().trim_end_matches("Alpha1");
        let beta = format!("{stable}Beta1");
        if let Some(stable) = Rpc::lookup(stable).or(Rpc::lookup(&beta)) {
            assert_eq!((rpc.safety(), rpc.block()), (stable.safety(), stable.block()), "{}", rpc.path());
        }
    }
}

#[test]
fn every_building_block_has_its_own_name() {
    let blocks: BTreeSet<_> = Rpc::all().map(|rpc| format!("{:?}", rpc.block())).collect();
    let names: BTreeSet<_> = Rpc::all().map(|rpc| rpc.block().as_str()).collect();
    assert_eq!(blocks.len(), names.len());
    assert_eq!(blocks.into_iter().map(|block| block.to_lowercase()).collect::<Vec<_>>(), Vec::from_iter(names));
}

// ===== Names =====

#[test]
fn every_call_with_a_name_is_tried() {
    let tried: BTreeSet<_> = requests("a", "b", &Noise::default()).into_iter().map(|case| case.rpc.path()).collect();
    let named: BTreeSet<_> = Rpc::all().filter(|rpc| rpc.name_kind() != NameKind::None).map(Rpc::path).collect();
    assert_eq!(tried, named);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reads_the_names_that_prost_wrote(name in name(), topic in name(), noise in noise()) {
        for case in requests(&name, &topic, &noise) {
            let body = frame(&case.message);
            prop_assert_eq!(Names::read(case.rpc, &body), case.names(&name, &topic), "{}", case.rpc.path());
        }
    }

    #[test]
    fn a_cut_never_makes_a_wrong_name(name in name(), topic in name(), noise in noise()) {
        for case in requests(&name, &topic, &noise) {
            let body = frame(&case.message);
            let whole = case.names(&name, &topic);
            // Every position near the start, where the names are, and some behind.
            for end in (0..body.len()).filter(|at| *at < 600 || at % 61 == 0) {
                let names = Names::read(case.rpc, &body[..end]);
                prop_assert!(names.component.is_none() || names.component == whole.component);
                prop_assert!(names.destination.is_none() || names.destination == whole.destination);
            }
        }
    }

    #[test]
    fn order_and_unknown_fields_do_not_matter(
        name in name(),
        topic in name(),
        noise in noise(),
        unknown in prop::collection::vec(unknown_field(), 0..8),
        seed in any::<u64>(),
    ) {
        for case in requests(&name, &topic, &noise) {
            let mut fields = split_fields(&case.message);
            fields.extend(unknown.iter().cloned());
            shuffle(&mut fields, seed);
            let body = frame(&fields.concat());
            prop_assert_eq!(Names::read(case.rpc, &body), case.names(&name, &topic), "{}", case.rpc.path());
        }
    }

    #[test]
    fn of_two_values_the_last_one_counts(first in name(), second in name(), noise in noise()) {
        for (before, after) in requests(&first, &first, &noise).into_iter().zip(requests(&second, &second, &noise)) {
            let body = frame(&[&before.message[..], &after.message].concat());
            prop_assert_eq!(Names::read(after.rpc, &body), after.names(&second, &second), "{}", after.rpc.path());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200), framed in any::<bool>()) {
        let body = if framed { frame(&body) } else { body };
        for rpc in Rpc::all() {
            let names = Names::read(rpc, &body);
            prop_assert!(names.component.is_none_or(|name| !name.is_empty() && name.len() <= 256));
            rpc.safety_of(&body);
        }
    }

    #[test]
    fn a_flipped_byte_never_panics(name in name(), noise in noise(), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        for case in requests(&name, &name, &noise) {
            let mut body = frame(&case.message);
            let at = at.index(body.len());
            body[at] ^= flip;
            Names::read(case.rpc, &body);
            case.rpc.safety_of(&body);
        }
    }
}

#[test]
fn merges_a_nested_message_that_comes_twice() {
    let topic = initial(SubscribeTopicEventsRequestInitialAlpha1 { topic: "t".into(), ..Default::default() });
    let pubsub = initial(SubscribeTopicEventsRequestInitialAlpha1 { pubsub_name: "ps".into(), ..Default::default() });
    let body = frame(&[topic, pubsub].concat());
    let names = Names::read(row("Dapr/SubscribeTopicEventsAlpha1"), &body);
    assert_eq!((names.component, names.destination), (Some("ps"), Some("t")));
}

#[test]
fn only_the_first_message_of_a_stream_counts() {
    let options = |name: &str| EncryptRequestOptions { component_name: name.into(), ..Default::default() };
    let message = |name| EncryptRequest { options: Some(options(name)), payload: None }.encode_to_vec();
    let body = [frame(&message("first")), frame(&message("second"))].concat();
    assert_eq!(Names::read(row("Dapr/EncryptAlpha1"), &body).component, Some("first"));
}

#[test]
fn a_payload_costs_no_scan() {
    let rpc = row("Dapr/PublishEvent");
    // Were the payload looked at, each of its fields would be another name.
    let decoys = b"\x0a\x05decoy\x12\x05decoy".repeat(10 * 1024 * 1024 / 14);
    let behind = PublishEventRequest { topic: "orders".into(), ..Default::default() }.encode_to_vec();
    let message =
        [PublishEventRequest { pubsub_name: "ps".into(), data: decoys, ..Default::default() }.encode_to_vec(), behind];
    let body = frame(&message.concat());
    let names = Names::read(rpc, &body);
    assert_eq!((names.component, names.destination), (Some("ps"), Some("orders")));
    // What is here of it suffices for the name before the payload.
    assert_eq!(Names::read(rpc, &body[..64]).component, Some("ps"));
}

#[test]
fn looks_at_a_bounded_number_of_fields() {
    let entries = |n| vec![TopicEventBulkRequestEntry { entry_id: "1".into(), ..Default::default() }; n];
    let request = |n| TopicEventBulkRequest { entries: entries(n), topic: "orders".into(), ..Default::default() };
    let rpc = row("AppCallback/OnBulkTopicEvent");
    assert_eq!(Names::read(rpc, &frame(&request(255).encode_to_vec())).destination, Some("orders"));
    assert_eq!(Names::read(rpc, &frame(&request(256).encode_to_vec())).destination, None);
    assert_eq!(Names::read(rpc, &frame(&request(1_000_000).encode_to_vec())).destination, None);
}

#[test]
fn a_name_that_would_make_a_poor_attribute_is_none() {
    let read = |name: &[u8]| {
        let body = frame(&bytes_field(1, name));
        Names::read(row("Dapr/GetState"), &body).component.map(str::to_owned)
    };
    assert_eq!(read("größe/1".as_bytes()).as_deref(), Some("größe/1"));
    assert_eq!(read(&[b'a'; 256]).map(|name| name.len()), Some(256));
    for poor in
        [&[b'a'; 257][..], b"", b"a\nb", b"a\x1b[31m", b"a\0", b"\xff\xfe", "a\u{2028}b".as_bytes(), b"\xc2\x85"]
    {
        assert_eq!(read(poor), None, "{poor:?}");
    }
}

#[test]
fn what_is_not_plain_protobuf_has_no_names() {
    let rpc = row("Dapr/GetState");
    let good = bytes_field(1, b"store");
    let component = |body: &[u8]| Names::read(rpc, body).component.map(str::to_owned);
    assert_eq!(component(&frame(&good)).as_deref(), Some("store"));

    for flag in [1, 2, 255] {
        let mut compressed = frame(&good);
        compressed[0] = flag;
        assert_eq!(component(&compressed), None, "compressed flag {flag}");
    }
    for (what, tail) in [
        ("a group", &b"\x1b\x1c"[..]),
        ("a group's end", b"\x1c"),
        ("wire type 6", b"\x1e"),
        ("wire type 7", b"\x1f"),
        ("field number 0", b"\x02\x00"),
        ("a field number above 2^29", b"\x82\x80\x80\x80\x10\x00"),
        ("a varint of 11 bytes", b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ("a varint above 2^64", b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
        ("a length above 2^63", b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ("a value that ends behind the message", b"\x1a\x05ab"),
        ("a fixed value that ends behind the message", b"\x1d\x00\x00"),
        ("a tag without a value", b"\x18"),
    ] {
        assert_eq!(component(&frame(&[&good[..], tail].concat())), None, "{what}");
    }
}

#[test]
fn the_wire_type_tells_a_name_from_another_field() {
    // Field 1 as a number: protobuf takes it for an unknown field.
    let body = frame(b"\x08\x07");
    assert_eq!(Names::read(row("Dapr/GetState"), &body), Names::default());
}

// ===== Safety of one request =====

#[test]
fn an_etag_or_first_write_makes_a_write_conditional() {
    let item = |etag: Option<&str>, concurrency| StateItem {
        key: "k".into(),
        value: vec![0xff; 100],
        etag: etag.map(|value| Etag { value: value.into() }),
        options: Some(StateOptions { concurrency, consistency: 2 }),
        ..Default::default()
    };
    let plain = item(None, 2);
    for (odd, safety) in [
        (item(None, 0), Safety::IdempotentWrite),
        (item(Some(""), 2), Safety::IdempotentWrite),
        (item(Some("7"), 0), Safety::ConditionalWrite),
        (item(None, 1), Safety::ConditionalWrite),
    ] {
        let states = vec![plain.clone(), odd.clone(), plain.clone()];
        let save = SaveStateRequest { store_name: "s".into(), states: states.clone() }.encode_to_vec();
        let delete_bulk = DeleteBulkStateRequest { store_name: "s".into(), states: states.clone() }.encode_to_vec();
        let operation =
            |request| TransactionalStateOperation { operation_type: "upsert".into(), request: Some(request) };
        let operations = states.into_iter().map(operation).collect();
        let transaction =
            ExecuteStateTransactionRequest { store_name: "s".into(), operations, ..Default::default() }.encode_to_vec();
        let delete = DeleteStateRequest { key: "k".into(), etag: odd.etag, options: odd.options, ..Default::default() };
        for (method, message) in [
            ("SaveState", save),
            ("DeleteBulkState", delete_bulk),
            ("ExecuteStateTransaction", transaction),
            ("DeleteState", delete.encode_to_vec()),
        ] {
            assert_eq!(row(&format!("Dapr/{method}")).safety_of(&frame(&message)), safety, "{method}");
        }
    }
}

#[test]
fn an_empty_etag_is_none_however_it_is_written() {
    let item = bytes_field(3, &bytes_field(1, b""));
    assert_eq!(row("Dapr/SaveState").safety_of(&frame(&bytes_field(2, &item))), Safety::IdempotentWrite);
    assert_eq!(row("Dapr/StartWorkflowBeta1").safety_of(&frame(&bytes_field(1, b""))), Safety::Effect);
}

#[test]
fn a_flag_or_an_id_decides_for_jobs_reminders_and_workflows() {
    let job = |overwrite| ScheduleJobRequest { overwrite, ..Default::default() }.encode_to_vec();
    let reminder = |overwrite| RegisterActorReminderRequest { overwrite, ..Default::default() }.encode_to_vec();
    let workflow = |id: &str| StartWorkflowRequest { instance_id: id.into(), ..Default::default() }.encode_to_vec();
    for (method, message, safety) in [
        ("ScheduleJob", job(true), Safety::IdempotentWrite),
        ("ScheduleJobAlpha1", job(false), Safety::ConditionalWrite),
        ("RegisterActorReminder", reminder(None), Safety::IdempotentWrite),
        ("RegisterActorReminder", reminder(Some(true)), Safety::IdempotentWrite),
        ("RegisterActorReminder", reminder(Some(false)), Safety::ConditionalWrite),
        ("StartWorkflowBeta1", workflow("order-7"), Safety::ConditionalWrite),
        ("StartWorkflowAlpha1", workflow(""), Safety::Effect),
    ] {
        assert_eq!(row(&format!("Dapr/{method}")).safety_of(&frame(&message)), safety, "{method}");
    }
}

#[test]
fn what_cannot_be_seen_counts_against_the_caller() {
    let states = vec![StateItem { key: "k".into(), value: vec![7; 100], ..Default::default() }; 3];
    let body = frame(&SaveStateRequest { store_name: "s".into(), states }.encode_to_vec());
    let save = row("Dapr/SaveState");
    assert_eq!(save.safety_of(&body), Safety::IdempotentWrite);
    for end in 0..body.len() {
        assert_eq!(save.safety_of(&body[..end]), Safety::ConditionalWrite, "cut at {end}");
    }
    let mut compressed = body;
    compressed[0] = 1;
    assert_eq!(save.safety_of(&compressed), Safety::ConditionalWrite);
    assert_eq!(row("Dapr/StartWorkflowBeta1").safety_of(b""), Safety::Effect);
    assert_eq!(row("Dapr/ScheduleJob").safety_of(b""), Safety::ConditionalWrite);

    let many =
        frame(&SaveStateRequest { states: vec![StateItem::default(); 5000], ..Default::default() }.encode_to_vec());
    assert_eq!(save.safety_of(&many), Safety::ConditionalWrite);
}

#[test]
fn the_path_decides_alone_for_all_other_calls() {
    for rpc in Rpc::all().filter(|rpc| rpc.block() == BuildingBlock::Secrets || rpc.safety() == Safety::Publish) {
        assert_eq!(rpc.safety_of(b"\0\0\0\0\x05whatever"), rpc.safety());
    }
}

// ===== Requests =====

/// What fills the fields beside the names.
#[derive(Clone, Debug, Default)]
struct Noise {
    text: String,
    data: Vec<u8>,
}

struct Case {
    rpc: &'static Rpc,
    message: Vec<u8>,
}

impl Case {
    /// The names that were written: to be read again, as far as the call has them.
    fn names<'a>(&self, name: &'a str, topic: &'a str) -> Names<'a> {
        let mut names = Names::default();
        names.component = Some(name);
        names.destination = (!self.rpc.destination_field().is_empty()).then_some(topic);
        names
    }
}

/// One request of every call that has a name, with `name` and `topic` as names and `noise` elsewhere.
#[allow(clippy::needless_update, reason = "some requests have no further fields")]
fn requests(name: &str, topic: &str, noise: &Noise) -> Vec<Case> {
    let Noise { text, data } = noise.clone();
    let some = Some(text.clone());
    let keys = vec![text.clone(); 3];
    let map = HashMap::from([(text.clone(), text.clone())]);
    let etag = Some(Etag { value: text.clone() });
    let item = StateItem {
        key: text.clone(),
        value: data.clone(),
        etag: etag.clone(),
        metadata: map.clone(),
        ..Default::default()
    };
    let operations = vec![TransactionalStateOperation { operation_type: text.clone(), request: Some(item.clone()) }];
    let states = vec![item; 2];
    let entries =
        vec![BulkPublishRequestEntry { entry_id: text.clone(), event: data.clone(), ..Default::default() }; 2];
    let events =
        vec![TopicEventBulkRequestEntry { entry_id: text.clone(), metadata: map.clone(), ..Default::default() }; 100];
    let message = Some(InvokeRequest { method: text.clone(), content_type: text.clone(), ..Default::default() });

    // case!("path", Request { field of the name / field of the topic; other fields })
    macro_rules! case {
        ($path:literal, $request:ident { $name:ident $(/ $topic:ident)?; $($other:ident: $value:expr),* }) => {{
            let request = $request {
                $name: name.to_owned(),
                $($topic: topic.to_owned(),)?
                $($other: $value.clone(),)*
                ..Default::default()
            };
            Case { rpc: row($path), message: request.encode_to_vec() }
        }};
    }
    #[rustfmt::skip]
    let mut cases = vec![
        case!("Dapr/GetState", GetStateRequest { store_name; key: text, metadata: map }),
        case!("Dapr/GetBulkState", GetBulkStateRequest { store_name; keys: keys, parallelism: 7, metadata: map }),
        case!("Dapr/QueryStateAlpha1", QueryStateRequest { store_name; query: text, metadata: map }),
        case!("Dapr/SaveState", SaveStateRequest { store_name; states: states }),
        case!("Dapr/DeleteBulkState", DeleteBulkStateRequest { store_name; states: states }),
        case!("Dapr/DeleteState", DeleteStateRequest { store_name; key: text, etag: etag, metadata: map }),
        case!("Dapr/ExecuteStateTransaction", ExecuteStateTransactionRequest { store_name; operations: operations, metadata: map }),
        case!("Dapr/PublishEvent", PublishEventRequest { pubsub_name / topic; data: data, data_content_type: text, metadata: map }),
        case!("Dapr/BulkPublishEvent", BulkPublishRequest { pubsub_name / topic; entries: entries, metadata: map }),
        case!("Dapr/BulkPublishEventAlpha1", BulkPublishRequest { pubsub_name / topic; entries: entries, metadata: map }),
        case!("Dapr/InvokeBinding", InvokeBindingRequest { name; data: data, operation: text, metadata: map }),
        case!("Dapr/InvokeService", InvokeServiceRequest { id; message: message }),
        case!("Dapr/GetSecret", GetSecretRequest { store_name; key: text, metadata: map }),
        case!("Dapr/GetBulkSecret", GetBulkSecretRequest { store_name; metadata: map }),
        case!("Dapr/RegisterActorTimer", RegisterActorTimerRequest { actor_type; actor_id: text, data: data }),
        case!("Dapr/UnregisterActorTimer", UnregisterActorTimerRequest { actor_type; actor_id: text }),
        case!("Dapr/RegisterActorReminder", RegisterActorReminderRequest { actor_type; actor_id: text, data: data, overwrite: Some(true) }),
        case!("Dapr/UnregisterActorReminder", UnregisterActorReminderRequest { actor_type; actor_id: text }),
        case!("Dapr/UnregisterActorRemindersByType", UnregisterActorRemindersByTypeRequest { actor_type; actor_id: some }),
        case!("Dapr/GetActorReminder", GetActorReminderRequest { actor_type; actor_id: text }),
        case!("Dapr/ListActorReminders", ListActorRemindersRequest { actor_type; actor_id: some }),
        case!("Dapr/GetActorState", GetActorStateRequest { actor_type; actor_id: text }),
        case!("Dapr/ExecuteActorStateTransaction", ExecuteActorStateTransactionRequest { actor_type; actor_id: text }),
        case!("Dapr/InvokeActor", InvokeActorRequest { actor_type; actor_id: text, data: data, metadata: map }),
        case!("Dapr/GetConfiguration", GetConfigurationRequest { store_name; keys: keys, metadata: map }),
        case!("Dapr/GetConfigurationAlpha1", GetConfigurationRequest { store_name; keys: keys, metadata: map }),
        case!("Dapr/SubscribeConfiguration", SubscribeConfigurationRequest { store_name; keys: keys, metadata: map }),
        case!("Dapr/SubscribeConfigurationAlpha1", SubscribeConfigurationRequest { store_name; keys: keys, metadata: map }),
        case!("Dapr/UnsubscribeConfiguration", UnsubscribeConfigurationRequest { store_name; id: text }),
        case!("Dapr/UnsubscribeConfigurationAlpha1", UnsubscribeConfigurationRequest { store_name; id: text }),
        case!("Dapr/TryLockAlpha1", TryLockRequest { store_name; resource_id: text, expiry_in_seconds: -1 }),
        case!("Dapr/UnlockAlpha1", UnlockRequest { store_name; resource_id: text }),
        case!("Dapr/SubtleGetKeyAlpha1", SubtleGetKeyRequest { component_name; name: text, format: 1 }),
        case!("Dapr/SubtleEncryptAlpha1", SubtleEncryptRequest { component_name; plaintext: data, key_name: text }),
        case!("Dapr/SubtleDecryptAlpha1", SubtleDecryptRequest { component_name; ciphertext: data, key_name: text }),
        case!("Dapr/SubtleWrapKeyAlpha1", SubtleWrapKeyRequest { component_name; plaintext_key: data, key_name: text }),
        case!("Dapr/SubtleUnwrapKeyAlpha1", SubtleUnwrapKeyRequest { component_name; wrapped_key: data, key_name: text }),
        case!("Dapr/SubtleSignAlpha1", SubtleSignRequest { component_name; digest: data, key_name: text }),
        case!("Dapr/SubtleVerifyAlpha1", SubtleVerifyRequest { component_name; digest: data, key_name: text }),
        case!("Dapr/StartWorkflowAlpha1", StartWorkflowRequest { workflow_component; instance_id: text, input: data, options: map }),
        case!("Dapr/StartWorkflowBeta1", StartWorkflowRequest { workflow_component; instance_id: text, input: data, options: map }),
        case!("Dapr/GetWorkflowAlpha1", GetWorkflowRequest { workflow_component; instance_id: text }),
        case!("Dapr/GetWorkflowBeta1", GetWorkflowRequest { workflow_component; instance_id: text }),
        case!("Dapr/PurgeWorkflowAlpha1", PurgeWorkflowRequest { workflow_component; instance_id: text }),
        case!("Dapr/PurgeWorkflowBeta1", PurgeWorkflowRequest { workflow_component; instance_id: text }),
        case!("Dapr/TerminateWorkflowAlpha1", TerminateWorkflowRequest { workflow_component; instance_id: text }),
        case!("Dapr/TerminateWorkflowBeta1", TerminateWorkflowRequest { workflow_component; instance_id: text }),
        case!("Dapr/PauseWorkflowAlpha1", PauseWorkflowRequest { workflow_component; instance_id: text }),
        case!("Dapr/PauseWorkflowBeta1", PauseWorkflowRequest { workflow_component; instance_id: text }),
        case!("Dapr/ResumeWorkflowAlpha1", ResumeWorkflowRequest { workflow_component; instance_id: text }),
        case!("Dapr/ResumeWorkflowBeta1", ResumeWorkflowRequest { workflow_component; instance_id: text }),
        case!("Dapr/RaiseEventWorkflowAlpha1", RaiseEventWorkflowRequest { workflow_component; instance_id: text, event_data: data }),
        case!("Dapr/RaiseEventWorkflowBeta1", RaiseEventWorkflowRequest { workflow_component; instance_id: text, event_data: data }),
        case!("Dapr/ConverseAlpha1", ConversationRequest { name; context_id: some, temperature: Some(0.5), metadata: map }),
        case!("Dapr/ConverseAlpha2", ConversationRequestAlpha2 { name; context_id: some, temperature: Some(0.5), metadata: map }),
        case!("Dapr/CreateIndexAlpha1", CreateIndexRequestAlpha1 { store_name; index: text, metadata: map }),
        case!("Dapr/GetIndexAlpha1", GetIndexRequestAlpha1 { store_name; index: text }),
        case!("Dapr/DeleteIndexAlpha1", DeleteIndexRequestAlpha1 { store_name; index: text }),
        case!("Dapr/ListIndexesAlpha1", ListIndexesRequestAlpha1 { store_name; metadata: map }),
        case!("Dapr/IndexDocumentsAlpha1", IndexDocumentsRequestAlpha1 { store_name; index: text }),
        case!("Dapr/GetDocumentsAlpha1", GetDocumentsRequestAlpha1 { store_name; index: text }),
        case!("Dapr/DeleteDocumentsAlpha1", DeleteDocumentsRequestAlpha1 { store_name; index: text }),
        case!("Dapr/SearchAlpha1", SearchRequestAlpha1 { store_name; index: text }),
        case!("Dapr/CreateCollectionAlpha1", CreateCollectionRequestAlpha1 { store_name; collection: text, dimensions: 3 }),
        case!("Dapr/GetCollectionAlpha1", GetCollectionRequestAlpha1 { store_name; collection: text }),
        case!("Dapr/DeleteCollectionAlpha1", DeleteCollectionRequestAlpha1 { store_name; collection: text }),
        case!("Dapr/ListCollectionsAlpha1", ListCollectionsRequestAlpha1 { store_name; metadata: map }),
        case!("Dapr/UpsertVectorsAlpha1", UpsertVectorsRequestAlpha1 { store_name; collection: text }),
        case!("Dapr/DeleteVectorsAlpha1", DeleteVectorsRequestAlpha1 { store_name; collection: text }),
        case!("Dapr/GetVectorsAlpha1", GetVectorsRequestAlpha1 { store_name; collection: text }),
        case!("Dapr/QueryVectorsAlpha1", QueryVectorsRequestAlpha1 { store_name; collection: text }),
        case!("Dapr/BatchQueryVectorsAlpha1", BatchQueryVectorsRequestAlpha1 { store_name; collection: text }),
        case!("AppCallback/OnTopicEvent", TopicEventRequest { pubsub_name / topic; id: text, data: data }),
        case!("AppCallback/OnBulkTopicEvent", TopicEventBulkRequest { pubsub_name / topic; id: text, metadata: map, entries: events }),
        case!("AppCallback/OnBindingEvent", BindingEventRequest { name; data: data, metadata: map }),
        case!("AppCallbackAlpha/OnBulkTopicEventAlpha1", TopicEventBulkRequest { pubsub_name / topic; id: text, metadata: map, entries: events }),
    ];
    let options = EncryptRequestOptions { component_name: name.into(), key_name: text.clone(), ..Default::default() };
    let encrypt = EncryptRequest { options: Some(options), payload: None };
    let options = DecryptRequestOptions { component_name: name.into(), key_name: text };
    let decrypt = DecryptRequest { options: Some(options), payload: None };
    let subscribe = initial(SubscribeTopicEventsRequestInitialAlpha1 {
        pubsub_name: name.into(),
        topic: topic.into(),
        metadata: map,
        dead_letter_topic: None,
    });
    cases.extend([
        Case { rpc: row("Dapr/EncryptAlpha1"), message: encrypt.encode_to_vec() },
        Case { rpc: row("Dapr/DecryptAlpha1"), message: decrypt.encode_to_vec() },
        Case { rpc: row("Dapr/SubscribeTopicEventsAlpha1"), message: subscribe },
    ]);
    cases
}

fn initial(request: SubscribeTopicEventsRequestInitialAlpha1) -> Vec<u8> {
    let subscribe_topic_events_request_type = Some(Subscribe::InitialRequest(request));
    SubscribeTopicEventsRequestAlpha1 { subscribe_topic_events_request_type }.encode_to_vec()
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,30}",
        prop::string::string_regex("[a-zäß€😀 /]{1,60}").expect("a valid pattern"),
        Just("x".repeat(256)),
    ]
}

fn noise() -> impl Strategy<Value = Noise> {
    let data = prop_oneof![prop::collection::vec(any::<u8>(), 0..80), Just(b"\x0a\x05decoy".repeat(40))];
    ("\\PC{0,20}", data).prop_map(|(text, data)| Noise { text, data })
}

// ===== Wire =====

/// A field of a number that no request has, of any wire type that protobuf still writes.
fn unknown_field() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        any::<u64>().prop_map(|value| {
            let mut bytes = Vec::new();
            encode_varint(value, &mut bytes);
            (WireType::Varint, bytes)
        }),
        any::<[u8; 8]>().prop_map(|bytes| (WireType::SixtyFourBit, bytes.to_vec())),
        any::<[u8; 4]>().prop_map(|bytes| (WireType::ThirtyTwoBit, bytes.to_vec())),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| {
            let mut value = Vec::new();
            encode_varint(bytes.len() as u64, &mut value);
            value.extend(bytes);
            (WireType::LengthDelimited, value)
        }),
    ];
    (100..(1u32 << 29), value).prop_map(|(number, (wire_type, value))| {
        let mut field = Vec::new();
        encode_key(number, wire_type, &mut field);
        field.extend(value);
        field
    })
}

fn split_fields(mut message: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let start = message;
        let (number, wire_type) = decode_key(&mut message).expect("prost wrote it");
        skip_field(wire_type, number, &mut message, DecodeContext::default()).expect("prost wrote it");
        fields.push(start[..start.len() - message.len()].to_vec());
    }
    fields
}

fn bytes_field(number: u32, value: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut field);
    encode_varint(value.len() as u64, &mut field);
    field.extend(value);
    field
}

fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a small message");
    [&[0], &length.to_be_bytes()[..], message].concat()
}

fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for i in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        items.swap(i, (seed >> 33) as usize % (i + 1));
    }
}

fn row(name: &str) -> &'static Rpc {
    Rpc::lookup(&format!("/dapr.proto.runtime.v1.{name}")).expect("a call of Dapr")
}

/// Every path in the generated code of crate `dapr` 0.20.0.
const GENERATED: [&str; 98] = [
    "/dapr.proto.runtime.v1.AppCallback/ListInputBindings",
    "/dapr.proto.runtime.v1.AppCallback/ListTopicSubscriptions",
    "/dapr.proto.runtime.v1.AppCallback/OnBindingEvent",
    "/dapr.proto.runtime.v1.AppCallback/OnBulkTopicEvent",
    "/dapr.proto.runtime.v1.AppCallback/OnInvoke",
    "/dapr.proto.runtime.v1.AppCallback/OnJobEvent",
    "/dapr.proto.runtime.v1.AppCallback/OnTopicEvent",
    "/dapr.proto.runtime.v1.AppCallbackAlpha/OnBulkTopicEventAlpha1",
    "/dapr.proto.runtime.v1.AppCallbackAlpha/OnJobEventAlpha1",
    "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck",
    "/dapr.proto.runtime.v1.Dapr/BatchQueryVectorsAlpha1",
    "/dapr.proto.runtime.v1.Dapr/BulkPublishEvent",
    "/dapr.proto.runtime.v1.Dapr/BulkPublishEventAlpha1",
    "/dapr.proto.runtime.v1.Dapr/ConverseAlpha1",
    "/dapr.proto.runtime.v1.Dapr/ConverseAlpha2",
    "/dapr.proto.runtime.v1.Dapr/CreateCollectionAlpha1",
    "/dapr.proto.runtime.v1.Dapr/CreateIndexAlpha1",
    "/dapr.proto.runtime.v1.Dapr/DecryptAlpha1",
    "/dapr.proto.runtime.v1.Dapr/DeleteBulkState",
    "/dapr.proto.runtime.v1.Dapr/DeleteCollectionAlpha1",
    "/dapr.proto.runtime.v1.Dapr/DeleteDocumentsAlpha1",
    "/dapr.proto.runtime.v1.Dapr/DeleteIndexAlpha1",
    "/dapr.proto.runtime.v1.Dapr/DeleteJob",
    "/dapr.proto.runtime.v1.Dapr/DeleteJobAlpha1",
    "/dapr.proto.runtime.v1.Dapr/DeleteJobsByPrefix",
    "/dapr.proto.runtime.v1.Dapr/DeleteJobsByPrefixAlpha1",
    "/dapr.proto.runtime.v1.Dapr/DeleteState",
    "/dapr.proto.runtime.v1.Dapr/DeleteVectorsAlpha1",
    "/dapr.proto.runtime.v1.Dapr/EncryptAlpha1",
    "/dapr.proto.runtime.v1.Dapr/ExecuteActorStateTransaction",
    "/dapr.proto.runtime.v1.Dapr/ExecuteStateTransaction",
    "/dapr.proto.runtime.v1.Dapr/GetActorReminder",
    "/dapr.proto.runtime.v1.Dapr/GetActorState",
    "/dapr.proto.runtime.v1.Dapr/GetBulkSecret",
    "/dapr.proto.runtime.v1.Dapr/GetBulkState",
    "/dapr.proto.runtime.v1.Dapr/GetCollectionAlpha1",
    "/dapr.proto.runtime.v1.Dapr/GetConfiguration",
    "/dapr.proto.runtime.v1.Dapr/GetConfigurationAlpha1",
    "/dapr.proto.runtime.v1.Dapr/GetDocumentsAlpha1",
    "/dapr.proto.runtime.v1.Dapr/GetIndexAlpha1",
    "/dapr.proto.runtime.v1.Dapr/GetJob",
    "/dapr.proto.runtime.v1.Dapr/GetJobAlpha1",
    "/dapr.proto.runtime.v1.Dapr/GetMetadata",
    "/dapr.proto.runtime.v1.Dapr/GetSecret",
    "/dapr.proto.runtime.v1.Dapr/GetState",
    "/dapr.proto.runtime.v1.Dapr/GetVectorsAlpha1",
    "/dapr.proto.runtime.v1.Dapr/GetWorkflowAlpha1",
    "/dapr.proto.runtime.v1.Dapr/GetWorkflowBeta1",
    "/dapr.proto.runtime.v1.Dapr/IndexDocumentsAlpha1",
    "/dapr.proto.runtime.v1.Dapr/InvokeActor",
    "/dapr.proto.runtime.v1.Dapr/InvokeBinding",
    "/dapr.proto.runtime.v1.Dapr/InvokeService",
    "/dapr.proto.runtime.v1.Dapr/ListActorReminders",
    "/dapr.proto.runtime.v1.Dapr/ListCollectionsAlpha1",
    "/dapr.proto.runtime.v1.Dapr/ListIndexesAlpha1",
    "/dapr.proto.runtime.v1.Dapr/ListJobs",
    "/dapr.proto.runtime.v1.Dapr/ListJobsAlpha1",
    "/dapr.proto.runtime.v1.Dapr/PauseWorkflowAlpha1",
    "/dapr.proto.runtime.v1.Dapr/PauseWorkflowBeta1",
    "/dapr.proto.runtime.v1.Dapr/PublishEvent",
    "/dapr.proto.runtime.v1.Dapr/PurgeWorkflowAlpha1",
    "/dapr.proto.runtime.v1.Dapr/PurgeWorkflowBeta1",
    "/dapr.proto.runtime.v1.Dapr/QueryStateAlpha1",
    "/dapr.proto.runtime.v1.Dapr/QueryVectorsAlpha1",
    "/dapr.proto.runtime.v1.Dapr/RaiseEventWorkflowAlpha1",
    "/dapr.proto.runtime.v1.Dapr/RaiseEventWorkflowBeta1",
    "/dapr.proto.runtime.v1.Dapr/RegisterActorReminder",
    "/dapr.proto.runtime.v1.Dapr/RegisterActorTimer",
    "/dapr.proto.runtime.v1.Dapr/ResumeWorkflowAlpha1",
    "/dapr.proto.runtime.v1.Dapr/ResumeWorkflowBeta1",
    "/dapr.proto.runtime.v1.Dapr/SaveState",
    "/dapr.proto.runtime.v1.Dapr/ScheduleJob",
    "/dapr.proto.runtime.v1.Dapr/ScheduleJobAlpha1",
    "/dapr.proto.runtime.v1.Dapr/SearchAlpha1",
    "/dapr.proto.runtime.v1.Dapr/SetMetadata",
    "/dapr.proto.runtime.v1.Dapr/Shutdown",
    "/dapr.proto.runtime.v1.Dapr/StartWorkflowAlpha1",
    "/dapr.proto.runtime.v1.Dapr/StartWorkflowBeta1",
    "/dapr.proto.runtime.v1.Dapr/SubscribeConfiguration",
    "/dapr.proto.runtime.v1.Dapr/SubscribeConfigurationAlpha1",
    "/dapr.proto.runtime.v1.Dapr/SubscribeTopicEventsAlpha1",
    "/dapr.proto.runtime.v1.Dapr/SubtleDecryptAlpha1",
    "/dapr.proto.runtime.v1.Dapr/SubtleEncryptAlpha1",
    "/dapr.proto.runtime.v1.Dapr/SubtleGetKeyAlpha1",
    "/dapr.proto.runtime.v1.Dapr/SubtleSignAlpha1",
    "/dapr.proto.runtime.v1.Dapr/SubtleUnwrapKeyAlpha1",
    "/dapr.proto.runtime.v1.Dapr/SubtleVerifyAlpha1",
    "/dapr.proto.runtime.v1.Dapr/SubtleWrapKeyAlpha1",
    "/dapr.proto.runtime.v1.Dapr/TerminateWorkflowAlpha1",
    "/dapr.proto.runtime.v1.Dapr/TerminateWorkflowBeta1",
    "/dapr.proto.runtime.v1.Dapr/TryLockAlpha1",
    "/dapr.proto.runtime.v1.Dapr/UnlockAlpha1",
    "/dapr.proto.runtime.v1.Dapr/UnregisterActorReminder",
    "/dapr.proto.runtime.v1.Dapr/UnregisterActorRemindersByType",
    "/dapr.proto.runtime.v1.Dapr/UnregisterActorTimer",
    "/dapr.proto.runtime.v1.Dapr/UnsubscribeConfiguration",
    "/dapr.proto.runtime.v1.Dapr/UnsubscribeConfigurationAlpha1",
    "/dapr.proto.runtime.v1.Dapr/UpsertVectorsAlpha1",
];
