"""An app of dapr.ext.grpc, which Dapr calls over gRPC, with API tokens in both directions."""

import json
import os
import threading

import blocks
import pubsub
import state
from dapr.clients import DaprClient
from dapr.clients.grpc._response import TopicEventResponse
from dapr.ext.grpc import App, InvokeMethodResponse, Rule
from google.protobuf.wrappers_pb2 import StringValue
from harness import APP_ID, APP_PORT, Event, Report, Seen, ask, fails, possible, ready, same, serve_web, shut_down
from invoke_http import client_over
from routes import TOPICS, take

seen = Seen()
app = App()


def on_topic(route):
    def handle(event):
        data = event.Data()
        if event.ContentType() == "application/json":
            data = json.loads(data)
        elif event.ContentType() == "text/plain":
            data = data.decode()
        extensions = dict(event.Extensions())
        headers = {name[len("_metadata_"):]: value for name, value in extensions.items() if name.startswith("_metadata_")}
        attributes = extensions | {"id": event.EventID(), "type": event.EventType(), "source": event.Source()}
        return TopicEventResponse(take(seen, route, Event(data, attributes, headers)).lower())

    handle.__name__ = route.strip("/")  # It is the path of a rule.
    return handle


for topic, (bus, metadata, dead_letter) in TOPICS.items():
    app.subscribe(bus, topic, metadata, dead_letter)(on_topic(f"/{topic}"))
app.subscribe("pubsub", "routed", rule=Rule('event.type == "a"', 1))(on_topic("/routed-a"))
app.subscribe("pubsub", "routed", rule=Rule("event.data.n > 10", 2))(on_topic("/routed-big"))
app.subscribe("pubsub", "routed", rule=Rule("true", 3))(on_topic("/routed-rest"))
# These two are declared in resources/subscriptions.yaml, and come with the paths that are said there.
for name in ("declared", "bulk"):
    app._servicer._topic_map[f"pubsub:{name}:/{name}"] = on_topic(f"/{name}")


@app.binding("tick")
def tick(request):
    seen.put("/tick", request.data)


@app.method("echo")
def echo(request):
    headers = {name: value[0] for name, value in request.metadata.items() if isinstance(value[0], str)}
    packed = StringValue()
    if request.is_proto():
        request.unpack(packed)
    said = {"data": packed.value or request.text(), "type": request.content_type, "headers": headers}
    return InvokeMethodResponse(json.dumps(said), "application/json")


@app.method("break")
def break_(_request):
    raise ValueError("broken on purpose")


def on_job(name):
    def handle(event):
        is_first = seen.count("/job/fragile") == 0
        seen.put(f"/job/{name}", event.data)
        if name == "fragile" and is_first:
            raise ValueError("broken on purpose")

    return handle


for name in ("once", "often", "fragile", "later"):
    app.job_event(name)(on_job(name))


def invoke(dapr, seen):
    """data, content type, metadata arrive at a gRPC app; so do its answer and its errors"""
    with client_over("grpc") as client:
        answer = client.invoke_method(APP_ID, "echo", "hi", content_type="text/plain", metadata=(("x-own", "mine"),))
        said = json.loads(answer.data)
        same((said["data"], said["type"], said["headers"]["x-own"]), ("hi", "text/plain", "mine"))
        same(answer.content_type, "application/json")
        message = StringValue(value="packed")
        same(json.loads(client.invoke_method(APP_ID, "echo", message).data)["data"], "packed")
        fails(lambda: client.invoke_method(APP_ID, "missing", ""), "missing method not implemented", "UNIMPLEMENTED")
        fails(lambda: client.invoke_method(APP_ID, "break", ""), "broken on purpose", "UNKNOWN")


def invoke_over_http(dapr, seen):
    """a gRPC app is called over the HTTP API: its codes become statuses"""
    status, headers, body = ask("POST", f"/v1.0/invoke/{APP_ID}/method/echo?q=1", b"{}")
    said = json.loads(body)
    same((status, said["data"], said["type"]), (200, "{}", "application/json"))
    same(ask("POST", f"/v1.0/invoke/{APP_ID}/method/missing", b"")[0], 501)
    same(ask("POST", f"/v1.0/invoke/{APP_ID}/method/break", b"")[0], 500)


def tokens(dapr, seen):
    """the app gets its own token with calls and events, and never that of the caller"""
    app_token = os.environ["APP_API_TOKEN"]
    said = json.loads(dapr.invoke_method(APP_ID, "echo", "").data)
    same(said["headers"]["dapr-api-token"], app_token)
    dapr.publish_event("pubsub", "orders", "1", data_content_type="application/json")
    same(seen.next("/orders").headers["dapr-api-token"], app_token)
    same(ask("GET", "/v1.0/metadata", token="wrong")[0], 401)


if __name__ == "__main__":
    serve_web()
    threading.Thread(target=app.run, args=(APP_PORT, "127.0.0.1"), daemon=True).start()
    ready()
    report = Report("python/grpc")
    with DaprClient() as dapr:
        for scenario in state.SCENARIOS:
            report.run(scenario, dapr)
        for scenario in possible(report, [invoke, invoke_over_http, tokens, *pubsub.SCENARIOS, *blocks.SCENARIOS]):
            report.run(scenario, dapr, seen)
        shut_down(report, dapr)
