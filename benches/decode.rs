//! Decoding an event of 256 B, 4 KiB, 64 KiB and 1 MiB of data: allocations and shortest times (printed first), and times.
//!
//! | group | scenarios |
//! | --- | --- |
//! | `envelope` | data left as it is: `memcpy` (the floor), ours, serde_json into borrowed attributes and `RawValue` |
//! | `typed` | data as the handler's type: ours, cloudevents-sdk 0.9, serde_json in one pass into an owned struct, sonic-rs the same |
//! | `binary` | attributes from headers: ours, cloudevents-sdk 0.9 |
//!
//! Last numbers, shortest times of interleaved rounds (2 virtual cores of an Intel Xeon, Rust 1.95, November 2026); behind
//! them, ours as a share of it, which differs by 0.02 from run to run:
//!
//! | scenario | 256 B | 4 KiB | 64 KiB | 1 MiB |
//! | --- | --- | --- | --- | --- |
//! | envelope: ours | 0.82 us | 3.3 us | 42 us | 665 us |
//! | `RawValue` | 1.0 us, 0.80 | 4.5 us, 0.73 | 58 us, 0.73 | 926 us, 0.72 |
//! | typed: ours | 1.4 us | 12.9 us | 182 us | 3.2 ms |
//! | cloudevents-sdk | 7.4 us, 0.19 | 63 us, 0.20 | 831 us, 0.22 | 20 ms, 0.16 |
//! | serde_json | 1.7 us, 0.85 | 12.7 us, 1.01 | 179 us, 1.01 | 3.4 ms, 0.95 |
//! | sonic-rs | 1.6 us, 0.88 | 11.9 us, 1.09 | 171 us, 1.06 | 3.2 ms, 1.00 |
//! | binary: ours | 0.77 us | 0.71 us | 0.77 us | 1.4 us |
//! | cloudevents-sdk | 3.6 us, 0.22 | 3.8 us, 0.19 | 5.6 us, 0.14 | 58 us, 0.02 |
//!
//! The envelope is 1 allocation at any length of data.
//!
//! `cargo bench --bench decode`

#![expect(clippy::unwrap_used, reason = "the input is known")]
#![expect(clippy::print_stdout, reason = "the allocations are printed")]

use std::hint::black_box;

use bytes::Bytes;
use cloudevents::AttributesReader;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tower_dapr::event::CloudEvent;

const SIZES: [(&str, usize); 4] = [("256B", 256), ("4KiB", 4096), ("64KiB", 65_536), ("1MiB", 1_048_576)];

const ROUNDS: usize = 400;

/// The handler's type: owned, as an extractor has it.
#[derive(Serialize, Deserialize)]
struct Order {
    customer: String,
    items: Vec<Item>,
}

#[derive(Serialize, Deserialize)]
struct Item {
    sku: String,
    quantity: u32,
    price: f64,
    note: String,
}

/// What one would write by hand.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only decoded")]
struct Owned {
    specversion: String,
    id: String,
    source: String,
    r#type: String,
    datacontenttype: Option<String>,
    time: Option<String>,
    topic: Option<String>,
    pubsubname: Option<String>,
    traceid: Option<String>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    data: Order,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only decoded")]
struct Borrowed<'a> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    r#type: &'a str,
    datacontenttype: Option<&'a str>,
    time: Option<&'a str>,
    topic: Option<&'a str>,
    pubsubname: Option<&'a str>,
    traceid: Option<&'a str>,
    traceparent: Option<&'a str>,
    tracestate: Option<&'a str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

// ===== scenarios =====

fn memcpy(body: &Bytes) {
    black_box(body.to_vec());
}

fn ours_envelope(body: &Bytes) {
    black_box(CloudEvent::from_json(body.clone()).unwrap());
}

fn raw_value(body: &Bytes) {
    black_box(serde_json::from_slice::<Borrowed<'_>>(body).unwrap());
}

fn ours_typed(body: &Bytes) {
    let event = CloudEvent::from_json(body.clone()).unwrap();
    black_box(event.data_as::<Order>().unwrap());
    black_box(event);
}

fn sdk_typed(body: &Bytes) {
    let mut event: cloudevents::Event = serde_json::from_slice(body).unwrap();
    let (_, _, Some(cloudevents::Data::Json(json))) = event.take_data() else { panic!("it is JSON") };
    black_box(serde_json::from_value::<Order>(json).unwrap());
    black_box(event);
}

fn serde_owned(body: &Bytes) {
    black_box(serde_json::from_slice::<Owned>(body).unwrap());
}

fn sonic_owned(body: &Bytes) {
    black_box(sonic_rs::from_slice::<Owned>(body).unwrap());
}

fn ours_binary((headers, body): &(HeaderMap, Bytes)) {
    let event = CloudEvent::from_headers(headers, body.clone()).unwrap();
    black_box((event.id(), event.source(), event.ty()));
    black_box(event);
}

fn sdk_binary((headers, body): &(HeaderMap, Bytes)) {
    let event = cloudevents::binding::http::to_event(headers, body.to_vec()).unwrap();
    black_box((event.id(), event.ty()));
    black_box(event);
}

// ===== input =====

/// An order of about this many bytes of JSON.
fn order(size: usize) -> Order {
    let item = || Item {
        sku: "tea-earl-grey-250".into(),
        quantity: 12,
        price: 4.95,
        note: "please pack it well, it is a present".into(),
    };
    let length = serde_json::to_vec(&item()).unwrap().len() + 1;
    Order { customer: "customer-42".into(), items: (0..(size / length).max(1)).map(|_| item()).collect() }
}

fn structured(size: usize) -> Bytes {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-d0bea01e6f464a37-01";
    let event = CloudEvent::builder("98de7108-de14-4ca5-9be0-7a1c22bb3b6e", "shop", "com.dapr.event.sent")
        .time("2026-11-22T10:00:00Z".parse::<chrono::DateTime<chrono::FixedOffset>>().unwrap())
        .extension("pubsubname", "pubsub")
        .extension("topic", "orders")
        .extension("traceid", trace)
        .extension("traceparent", trace)
        .extension("tracestate", "a=b")
        .json(&order(size))
        .build();
    event.unwrap().to_json()
}

fn binary(size: usize) -> (HeaderMap, Bytes) {
    let event = CloudEvent::from_json(structured(size)).unwrap();
    let (mut headers, body) = event.to_headers();
    // What any request has.
    for (name, value) in [("host", "127.0.0.1:3000"), ("user-agent", "Go-http-client/1.1"), ("accept-encoding", "gzip")]
    {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    (headers, body)
}

type Scenario<T> = (&'static str, fn(&T));

const ENVELOPE: [Scenario<Bytes>; 3] = [("ours", ours_envelope), ("RawValue", raw_value), ("memcpy", memcpy)];
const TYPED: [Scenario<Bytes>; 4] =
    [("ours", ours_typed), ("cloudevents-sdk", sdk_typed), ("serde_json", serde_owned), ("sonic-rs", sonic_owned)];
const BINARY: [Scenario<(HeaderMap, Bytes)>; 2] = [("ours", ours_binary), ("cloudevents-sdk", sdk_binary)];

/// The shortest of many short rounds, taken in turn: what is left when other work on the machine is out of the way.
#[expect(clippy::disallowed_types, reason = "the time of this process, not of a runtime")]
fn print_floors<T>(name: &str, scenarios: &[Scenario<T>], input: &impl Fn(usize) -> T) {
    for (label, size) in SIZES {
        let input = input(size);
        // Short enough to fall between two other threads' turns.
        let calls = (200_000 / size).clamp(1, 200);
        let mut floors = vec![f64::MAX; scenarios.len()];
        for _ in 0..ROUNDS {
            for ((_, run), floor) in scenarios.iter().zip(&mut floors) {
                let start = std::time::Instant::now();
                (0..calls).for_each(|_| run(&input));
                *floor = floor.min(start.elapsed().as_secs_f64() * 1e9 / calls as f64);
            }
        }
        for ((scenario, _), floor) in scenarios.iter().zip(&floors) {
            println!("{name}/{label}/{scenario}: {floor:.0} ns at least, ours is {:.2} of it", floors[0] / floor);
        }
    }
}

fn group<T>(criterion: &mut Criterion, name: &str, scenarios: &[Scenario<T>], input: impl Fn(usize) -> T) {
    for (label, size) in SIZES {
        let input = input(size);
        for (scenario, run) in scenarios {
            let counted = allocation_counter::measure(|| run(&input));
            println!("allocations {name}/{scenario}/{label}: {} of {} bytes", counted.count_total, counted.bytes_total);
        }
    }
    print_floors(name, scenarios, &input);
    let mut group = criterion.benchmark_group(name);
    for (label, size) in SIZES {
        let input = input(size);
        group.throughput(Throughput::Bytes(size as u64));
        for (scenario, run) in scenarios {
            group.bench_with_input(BenchmarkId::new(*scenario, label), &input, |bencher, input| {
                bencher.iter(|| run(input));
            });
        }
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    group(criterion, "envelope", &ENVELOPE, structured);
    group(criterion, "typed", &TYPED, structured);
    group(criterion, "binary", &BINARY, binary);
}

criterion_group!(benches, decode);
criterion_main!(benches);
