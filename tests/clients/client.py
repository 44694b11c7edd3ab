"""Drives the sidecar at DAPR_GRPC_PORT and DAPR_HTTP_PORT with the Python SDK of Dapr, and with plain HTTP.

Started by run.sh, as the command of the example `sidecar`, which has an app at APP_PORT: this process.
"""

import asyncio
import json
import os
import queue
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dapr.aio.clients import DaprClient as AsyncDaprClient
from dapr.clients import DaprClient
from dapr.clients.grpc._state import Concurrency, StateOptions
from dapr.clients.exceptions import DaprGrpcError
from dapr.clients.grpc._request import TransactionalStateOperation, TransactionOperationType

seen = queue.Queue()


class App(BaseHTTPRequestHandler):
    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/dapr/subscribe":
            self.answer(200, json.dumps([{"pubsubname": "pubsub", "topic": "orders", "route": "/orders"}]).encode())
        else:
            self.answer(404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        seen.put((self.path, body))
        self.answer(200, b'{"said":' + body + b"}" if self.path == "/say" else b"")

    def log_message(self, *_):
        pass


def serve():
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), App)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def fails(code, call):
    try:
        call()
    except Exception as error:  # The SDK has several kinds.
        assert code in str(error), error
        return
    raise AssertionError(f"did not fail with {code}")


def sync(dapr):
    # State.
    dapr.save_state("statestore", "k", "v")
    read = dapr.get_state("statestore", "k")
    assert read.data == b"v" and read.etag
    fails("etag", lambda: dapr.save_state("statestore", "k", "w", etag="stale", options=StateOptions(concurrency=Concurrency.first_write)))
    dapr.save_state("statestore", "k", "w", etag=read.etag)
    dapr.execute_state_transaction("statestore", [
        TransactionalStateOperation(operation_type=TransactionOperationType.upsert, key="x", data="1"),
        TransactionalStateOperation(operation_type=TransactionOperationType.delete, key="k"),
    ])
    assert [item.data for item in dapr.get_bulk_state("statestore", ["k", "x"]).items] == [b"", b"1"]
    dapr.delete_state("statestore", "x")
    fails("nope is not found", lambda: dapr.get_state("nope", "k"))
    # Publish, and what is delivered.
    dapr.publish_event("pubsub", "orders", json.dumps({"n": 1}), data_content_type="application/json")
    path, body = seen.get(timeout=10)
    event = json.loads(body)
    assert path == "/orders" and event["data"] == {"n": 1} and event["source"] == "py", event
    # A streaming subscription.
    stream = dapr.subscribe("pubsub", "streamed")
    dapr.publish_event("pubsub", "streamed", "hello", data_content_type="text/plain")
    message = stream.next_message()
    assert message.data() == "hello", message.data()
    stream.respond_success(message)
    stream.close()
    # Invocation.
    answer = dapr.invoke_method("py", "say", b'"hi"', http_verb="POST", content_type="application/json")
    assert json.loads(answer.data) == {"said": "hi"}
    assert seen.get(timeout=10) == ("/say", b'"hi"')
    # Secrets, configuration, locks, metadata.
    os_home = dapr.get_secret("envsecrets", "HOME").secret
    assert os_home == {"HOME": os.environ["HOME"]}
    assert dapr.get_bulk_secret("envsecrets").secrets
    assert not dapr.get_configuration("configstore", ["none"]).items
    with dapr.try_lock("lockstore", "r", "me", 10) as lock:
        assert lock.success
        assert not dapr.try_lock("lockstore", "r", "you", 10).success
    dapr.set_metadata("k", "v")
    metadata = dapr.get_metadata()
    assert metadata.application_id == "py" and metadata.extended_metadata["k"] == "v"
    assert {one.name for one in metadata.registered_components} >= {"statestore", "pubsub"}


async def asynchronous():
    async with AsyncDaprClient() as dapr:
        await dapr.save_state("statestore", "a", "1")
        assert (await dapr.get_state("statestore", "a")).data == b"1"
        await dapr.publish_event("pubsub", "orders", "2", data_content_type="application/json")
        assert json.loads(seen.get(timeout=10)[1])["data"] == 2


def http():
    base = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0"

    def ask(method, path, body=None):
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(base + path, data=body, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read()

    assert ask("POST", "/state/statestore", b'[{"key":"h","value":[1]}]')[0] == 204
    assert ask("GET", "/state/statestore/h") == (200, b"[1]")
    assert ask("POST", "/publish/pubsub/orders", b"3")[0] == 204
    assert json.loads(seen.get(timeout=10)[1])["data"] == 3
    assert json.loads(ask("POST", "/invoke/py/method/say", b"4")[1]) == {"said": 4}


def ready():
    """What is published before the sidecar has read the subscriptions is lost, as with daprd."""
    url = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0/healthz"
    while True:
        try:
            return urllib.request.urlopen(url, timeout=10)
        except urllib.error.HTTPError:
            time.sleep(0.05)


if __name__ == "__main__":
    serve()
    ready()
    with DaprClient() as client:
        sync(client)
    asyncio.run(asynchronous())
    http()
    print("python: state, publish, stream, invoke, secrets, configuration, locks, metadata, over gRPC, asyncio and HTTP")
