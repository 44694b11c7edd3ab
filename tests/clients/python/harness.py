"""What all scenarios share: how they report, what arrived at the app, and what is set from outside."""

import asyncio
import collections
import json
import os
import queue
import subprocess
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HTTP_PORT = os.environ["DAPR_HTTP_PORT"]
APP_ID = os.environ["APP_ID"]
APP_PORT = int(os.environ["APP_PORT"])
PATIENCE = 15  # Seconds.

# An event as a handler got it, whatever the framework: JSON data is parsed, `attributes` are those of the CloudEvent.
Event = collections.namedtuple("Event", "data attributes headers")


class Seen:
    """What arrived at the app, by route."""

    def __init__(self):
        self._lock = threading.Lock()
        self._queues = {}

    def put(self, route, value):
        self._queue(route).put(value)

    def next(self, route):
        try:
            return self._queue(route).get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"nothing arrived at {route}") from None

    def count(self, route):
        return self._queue(route).qsize()

    def _queue(self, route):
        """The app and the scenario may both be the first to ask: a defaultdict gives each a queue of its own then."""
        with self._lock:
            return self._queues.setdefault(route, queue.Queue())


class Blocking:
    """The asyncio client, for scenarios that are written for the synchronous one."""

    def __init__(self, make):
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

        async def made():
            return make()  # It wants a running loop.

        self._client = self.run(made())

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=60)

    def __getattr__(self, name):
        method = getattr(self._client, name)
        return lambda *args, **kwargs: self.run(method(*args, **kwargs))


class Report:
    """Runs scenarios; a line each, `ok` or `not ok`, which run.sh counts."""

    def __init__(self, client):
        self.client = client
        self.failed = 0

    def run(self, scenario, *args):
        what = f"{self.client} {scenario.__name__}: {scenario.__doc__}"
        try:
            scenario(*args)
        except Exception:
            traceback.print_exc()
            self.failed += 1
            print(f"not ok - {what}", flush=True)
        else:
            print(f"ok - {what}", flush=True)

    def skip(self, what, why):
        print(f"skip - {self.client} {what}: {why}", flush=True)

    def known(self, what, why):
        """A defect of the SDK that it shows beside a real daprd too: named, not counted."""
        print(f"known - {self.client} {what}: {why}", flush=True)


def possible(report, scenarios, is_async=False):
    """Those that the SDK can do."""
    defects = {}
    if "DAPR_API_TOKEN" in os.environ:
        reason = "the SDK sends its API token with unary calls only"
        defects = {"streaming": reason, "configuration": reason}
    if is_async:
        defects["configuration"] = "the SDK's asyncio client iterates over its stream as if it were the other's"
    for name, reason in defects.items():
        report.known(name, reason)
    return [scenario for scenario in scenarios if scenario.__name__ not in defects]


def same(got, wanted):
    assert got == wanted, f"{got!r} is not {wanted!r}"


def same_in_any_order(got, wanted):
    """Daprd publishes the entries of a bulk side by side."""
    same(sorted(got, key=json.dumps), sorted(wanted, key=json.dumps))


def fails(call, *parts):
    """The call fails, and says so with all of these parts."""
    try:
        call()
    except Exception as error:  # The SDK has several kinds.
        text = f"{error} {error.__cause__} {getattr(error, 'code', lambda: '')()}"
        for part in parts:
            assert part in text, f"{part!r} is not in {text!r}"
        return
    raise AssertionError(f"did not fail with {parts}")


def eventually(check):
    """Waits until this is true: for what a client cannot be told of."""
    end = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.05)


def ask(method, path, body=None, headers=None, token=os.environ.get("DAPR_API_TOKEN")):
    """One request to the HTTP API: status, headers, body."""
    headers = {"content-type": "application/json", **(headers or {})}
    if token:
        headers["dapr-api-token"] = token
    url = f"http://127.0.0.1:{HTTP_PORT}{path}"
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def ready():
    """What is published before the sidecar has read the subscriptions is lost, as with daprd."""
    eventually(lambda: is_up() and ask("GET", "/v1.0/healthz")[0] == 204)


def is_up():
    try:
        ask("GET", "/v1.0/healthz")
        return True
    except OSError:
        return False


def set_item(key, value):
    """Changes an item of the configuration store from outside: in the file that it follows, or in Redis."""
    if "REDIS_PORT" in os.environ:
        command = ["redis-cli", "-p", os.environ["REDIS_PORT"], "SET", key, f"{value}||{time.time_ns()}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return
    path = os.environ["CONFIGURATION_FILE"]
    with open(path, encoding="utf-8") as file:
        items = json.load(file)
    items[key] = value
    with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(path), delete=False) as file:
        json.dump(items, file)
    os.replace(file.name, path)


class Web(BaseHTTPRequestHandler):
    """The HTTP server of the binding `web`, for apps that are none."""

    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        said = {"method": self.command, "path": self.path, "body": self.rfile.read(length).decode()}
        body = json.dumps(said).encode()
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def serve_web():
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["WEB_PORT"])), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def shut_down(report, dapr):
    """A sidecar that shuts down ends its app before the app could say so: what failed so far is the exit code."""
    if report.failed:
        os._exit(1)
    # It is `ok` when run.sh sees both end.
    print(f"asks - {report.client} shutdown: the sidecar ends, and its app with it", flush=True)
    try:
        dapr.shutdown()
        eventually(lambda: not is_up())
    except Exception:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
