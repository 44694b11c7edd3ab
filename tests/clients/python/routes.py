"""What the apps of all frameworks do: the same topics, and the same verdicts."""

import base64
import time

from harness import Event

# Topic: pubsub, metadata, dead letter topic. Its route is its name.
TOPICS = {
    "orders": ("pubsub", {}, None),
    "poison": ("pubsub", {}, "poison-dead"),
    "poison-dead": ("pubsub", {}, None),
    "refused": ("pubsub", {}, None),
    "retried": ("resilient", {}, None),
    "raw": ("pubsub", {"rawPayload": "true"}, None),
    "slow": ("pubsub", {}, None),
    "streamed-dead": ("pubsub", {}, None),
}
# Those of resources/subscriptions.yaml.
DECLARED = ["declared", "bulk", "routed-a", "routed-big", "routed-rest"]


def of_envelope(envelope, headers):
    data = base64.b64decode(envelope["data_base64"]) if "data_base64" in envelope else envelope.get("data")
    return Event(data, envelope, dict(headers))


def take(seen, route, event):
    """SUCCESS, RETRY or DROP."""
    seen.put(route, event)
    if route == "/poison":
        return "DROP"
    if route == "/refused" and event.data == "refuse":
        return "RETRY"
    if route == "/retried" and event.data == "r":
        seen.attempts = getattr(seen, "attempts", 0) + 1
        return "RETRY" if seen.attempts < 3 else "SUCCESS"
    if route == "/slow" and event.data == "wait":
        time.sleep(3)
    return "SUCCESS"


def take_bulk(seen, envelope, headers):
    """The answer to a bulk delivery."""
    statuses = []
    for entry in envelope["entries"]:
        status = take(seen, "/bulk", of_envelope(entry["event"], headers))
        statuses.append({"entryId": entry["entryId"], "status": status})
    return {"statuses": statuses}
