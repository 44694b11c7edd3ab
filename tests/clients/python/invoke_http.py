"""Invocation of an HTTP app, by the SDK over gRPC and HTTP, and by path over the HTTP API."""

import contextlib
import json

from dapr.clients import DaprClient
from dapr.conf import settings
from harness import APP_ID, ask, fails, same


@contextlib.contextmanager
def client_over(protocol):
    """The synchronous client invokes over HTTP, unless it is told otherwise."""
    before = settings.DAPR_API_METHOD_INVOCATION_PROTOCOL
    settings.DAPR_API_METHOD_INVOCATION_PROTOCOL = protocol
    try:
        with DaprClient() as client:
            yield client
    finally:
        settings.DAPR_API_METHOD_INVOCATION_PROTOCOL = before


def invoke(dapr, seen):
    """verb, path, query, body, headers and content type arrive; so does the answer"""
    with client_over("grpc") as client:
        answer = client.invoke_method(
            APP_ID, "echo", b'{"a":1}', content_type="application/json", http_verb="PUT",
            http_querystring=(("q", "1"), ("r", "x y")), metadata=(("x-own", "mine"),),
        )
        said = json.loads(answer.data)
        same((said["method"], said["body"], said["headers"]["x-own"]), ("PUT", '{"a":1}', "mine"))
        assert said["path"] in ("/echo?q=1&r=x+y", "/echo?q=1&r=x%20y"), said
        same(said["headers"]["content-type"], "application/json")
        assert answer.content_type.startswith("application/json"), answer.content_type
        fails(lambda: client.invoke_method(APP_ID, "missing", "", http_verb="GET"), "Not Found", "NOT_FOUND")
        fails(lambda: client.invoke_method(APP_ID, "teapot", "", http_verb="GET"), "I'm a teapot", "UNKNOWN")


def invoke_over_http(dapr, seen):
    """the SDK's HTTP invoker: answer, status, and what is not there"""
    with client_over("http") as client:
        answer = client.invoke_method(APP_ID, "echo", b"[2]", http_verb="POST", http_querystring=(("q", "2"),))
        said = json.loads(answer.data)
        same((said["method"], said["path"], said["body"]), ("POST", "/echo?q=2", "[2]"))
        same(answer.status_code, 200)
        fails(lambda: client.invoke_method(APP_ID, "missing", "", http_verb="GET"), "404")


def invoke_by_path(dapr, seen):
    """status, headers and body of the app come through; an id in the header; an unknown app"""
    status, headers, body = ask("PATCH", f"/v1.0/invoke/{APP_ID}/method/echo/deep?q=3", b"{}", {"x-own": "h"})
    said = json.loads(body)
    same((status, said["method"], said["path"], said["headers"]["x-own"]), (200, "PATCH", "/echo/deep?q=3", "h"))
    same(headers["x-answer"], "yes")
    same(ask("GET", f"/v1.0/invoke/{APP_ID}/method/teapot")[0], 418)
    same(json.loads(ask("DELETE", "/echo", headers={"dapr-app-id": APP_ID})[2])["method"], "DELETE")
    status, _, body = ask("GET", "/v1.0/invoke/nobody/method/echo")
    same((status, json.loads(body)["errorCode"]), (500, "ERR_DIRECT_INVOKE"))


SCENARIOS = [invoke, invoke_over_http, invoke_by_path]
