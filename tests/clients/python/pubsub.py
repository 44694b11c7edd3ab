"""The publish and subscribe building block. What the app of `seen` subscribes to is in routes.py."""

import json
import threading
import time

from dapr.clients.grpc._request import BulkPublishEntry
from harness import APP_ID, Blocking, fails, same, same_in_any_order

BUS = "pubsub"
JSON = "application/json"


def publish(dapr, seen):
    """JSON, text and bytes arrive as what they are; attributes of the envelope; metadata overrides them"""
    dapr.publish_event(BUS, "orders", json.dumps({"n": 1}), data_content_type=JSON)
    event = seen.next("/orders")
    same(event.data, {"n": 1})
    same((event.attributes["source"], event.attributes["type"]), (APP_ID, "com.dapr.event.sent"))
    same((event.attributes["topic"], event.attributes["pubsubname"]), ("orders", BUS))
    assert event.attributes["id"] and "traceparent" in event.attributes
    dapr.publish_event(BUS, "orders", "text", data_content_type="text/plain")
    same(seen.next("/orders").data, "text")
    dapr.publish_event(BUS, "orders", b"\x00\xff", data_content_type="application/octet-stream")
    same(seen.next("/orders").data, b"\x00\xff")
    overrides = {"cloudevent.id": "mine", "cloudevent.type": "made", "cloudevent.source": "me"}
    dapr.publish_event(BUS, "orders", "1", publish_metadata=overrides, data_content_type=JSON)
    attributes = seen.next("/orders").attributes
    same([attributes[name] for name in ("id", "type", "source")], ["mine", "made", "me"])


def cloud_event(dapr, seen):
    """a CloudEvent of the publisher keeps its own id, type and source"""
    event = {"specversion": "1.0", "id": "7", "type": "t", "source": "s", "datacontenttype": JSON, "data": [1]}
    dapr.publish_event(BUS, "orders", json.dumps(event), data_content_type="application/cloudevents+json")
    got = seen.next("/orders")
    same(got.data, [1])
    same([got.attributes[name] for name in ("id", "type", "source")], ["7", "t", "s"])


def bulk_publish(dapr, seen):
    """several events in one call, each with its own content type and metadata"""
    entries = [BulkPublishEntry(f'{{"n":{n}}}', content_type=JSON) for n in range(3)]
    entries.append(BulkPublishEntry("text", metadata={"cloudevent.id": "mine"}, content_type="text/plain"))
    same(dapr.publish_events(BUS, "orders", entries).failed_entries, [])
    same_in_any_order([seen.next("/orders").data for _ in entries], [{"n": 0}, {"n": 1}, {"n": 2}, "text"])
    twice = [BulkPublishEntry("a", entry_id="same"), BulkPublishEntry("b", entry_id="same")]
    fails(lambda: dapr.publish_events(BUS, "orders", twice), "INVALID_ARGUMENT")


def rules(dapr, seen):
    """the first rule that matches decides on the route, else the default"""
    for data, metadata in [({"n": 1}, {"cloudevent.type": "a"}), ({"n": 50}, {}), ({"n": 1}, {})]:
        dapr.publish_event(BUS, "routed", json.dumps(data), publish_metadata=metadata, data_content_type=JSON)
    same(seen.next("/routed-a").attributes["type"], "a")
    same(seen.next("/routed-big").data, {"n": 50})
    same(seen.next("/routed-rest").data, {"n": 1})


def dead_letter(dapr, seen):
    """what the app drops goes to the dead letter topic, with its id"""
    dapr.publish_event(BUS, "poison", '{"bad":true}', data_content_type=JSON)
    poison, dead = seen.next("/poison"), seen.next("/poison-dead")
    same(dead.data, {"bad": True})
    same(dead.attributes["id"], poison.attributes["id"])


def refused(dapr, seen):
    """without a Resiliency resource, an event that the app wants again is gone"""
    for data in ("refuse", "take"):
        dapr.publish_event(BUS, "refused", json.dumps(data), data_content_type=JSON)
    same([seen.next("/refused").data for _ in range(2)], ["refuse", "take"])
    same(seen.count("/refused"), 0)


def redelivery(dapr, seen):
    """with one, it comes again, as the same event, until the app takes it"""
    dapr.publish_event("resilient", "retried", '"r"', data_content_type=JSON)
    events = [seen.next("/retried") for _ in range(3)]
    same({event.attributes["id"] for event in events}, {events[0].attributes["id"]})
    dapr.publish_event("resilient", "retried", '"next"', data_content_type=JSON)
    same(seen.next("/retried").data, "next")


def raw(dapr, seen):
    """raw payloads: published without an envelope, delivered as bytes"""
    dapr.publish_event(BUS, "raw", b'{"raw":1}', publish_metadata={"rawPayload": "true"})
    same(seen.next("/raw").data, b'{"raw":1}')
    dapr.publish_event(BUS, "raw", '{"wrapped":1}', data_content_type=JSON)
    same(json.loads(seen.next("/raw").data)["data"], {"wrapped": 1})


def ttl(dapr, seen):
    """an event that waited for longer than its ttlInSeconds is not delivered"""

    def send(data, **metadata):
        dapr.publish_event(BUS, "slow", json.dumps(data), publish_metadata=metadata, data_content_type=JSON)

    send("wait")  # For three seconds.
    publisher = threading.Thread(target=send, args=("late",), kwargs={"ttlInSeconds": "1"})
    publisher.start()
    time.sleep(0.2)  # In this order, although daprd lets the second publisher wait.
    send("in time", ttlInSeconds="100")
    publisher.join()
    same(seen.next("/slow").data, "wait")
    event = seen.next("/slow")
    same(event.data, "in time")
    assert event.attributes["expiration"], event


def declared(dapr, seen):
    """a Subscription resource subscribes for the app"""
    dapr.publish_event(BUS, "declared", '{"d":1}', data_content_type=JSON)
    same(seen.next("/declared").data, {"d": 1})


def bulk_subscribe(dapr, seen):
    """several events in one delivery, each with its own verdict"""
    same(dapr.publish_events(BUS, "bulk", ['{"n":1}', '{"n":2}', '{"n":3}'], data_content_type=JSON).failed_entries, [])
    same_in_any_order([seen.next("/bulk").data for _ in range(3)], [{"n": 1}, {"n": 2}, {"n": 3}])


def streaming(dapr, seen):
    """a streaming subscription: pulled, with success, drop to the dead letter topic, and end"""
    stream = dapr.subscribe(BUS, "streamed", dead_letter_topic="streamed-dead")
    # The asyncio client's stream has coroutines.
    pull = dapr.run if isinstance(dapr, Blocking) else lambda result: result
    dapr.publish_event(BUS, "streamed", '{"s":1}', data_content_type=JSON)
    message = pull(stream.next_message())
    same((message.data(), message.source(), message.topic()), ({"s": 1}, APP_ID, "streamed"))
    pull(stream.respond_success(message))
    dapr.publish_event(BUS, "streamed", "gone", data_content_type="text/plain")
    message = pull(stream.next_message())
    same(message.data(), "gone")
    pull(stream.respond_drop(message))
    same(seen.next("/streamed-dead").data, "gone")
    pull(stream.close())


def mistakes(dapr, seen):
    """an unknown component"""
    fails(lambda: dapr.publish_event("nope", "t", "x"), "pubsub nope is not found", "INVALID_ARGUMENT")


SCENARIOS = [
    publish, cloud_event, bulk_publish, rules, dead_letter, refused, redelivery, raw, ttl, declared, bulk_subscribe,
    streaming, mistakes,
]
