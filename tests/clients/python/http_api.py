"""The HTTP API without an SDK: statuses, headers and error bodies."""

import json
import os

from harness import APP_ID, ask, eventually, same, same_in_any_order, set_item


def error_of(answer):
    return answer[0], json.loads(answer[2])["errorCode"]


def state_over_http(seen):
    """204 for done and for absent, etags as headers, 409 for a stale one, 400 for what is not there"""
    base = "/v1.0/state/statestore"
    same(ask("POST", base, b'[{"key":"h","value":[1]},{"key":"i","value":"2"}]')[0], 204)
    status, headers, body = ask("GET", f"{base}/h")
    same((status, body), (200, b"[1]"))
    etag = headers["etag"]
    same(ask("GET", f"{base}/none")[0], 204)
    same(ask("POST", base, json.dumps([{"key": "h", "value": 3, "etag": "99"}]).encode())[0], 409)
    same(ask("DELETE", f"{base}/h", headers={"if-match": "99"})[0], 409)
    rows = json.loads(ask("POST", f"{base}/bulk", b'{"keys":["h","none"]}')[2])
    same({row["key"]: row.get("data") for row in rows}, {"h": [1], "none": None})
    same(ask("DELETE", f"{base}/h", headers={"if-match": etag})[0], 204)
    operations = [{"operation": "upsert", "request": {"key": "j", "value": 1}},
                  {"operation": "delete", "request": {"key": "i"}}]
    same(ask("POST", f"{base}/transaction", json.dumps({"operations": operations}).encode())[0], 204)
    same((ask("GET", f"{base}/j")[2], ask("GET", f"{base}/i")[0]), (b"1", 204))
    same(error_of(ask("GET", "/v1.0/state/nope/k")), (400, "ERR_STATE_STORE_NOT_FOUND"))
    same(error_of(ask("POST", base, b"{")), (400, "ERR_MALFORMED_REQUEST"))


def publish_over_http(seen):
    """204; the content type decides what the event is; 404 for an unknown component"""
    same(ask("POST", "/v1.0/publish/pubsub/orders", b'{"h":1}')[0], 204)
    same(seen.next("/orders").data, {"h": 1})
    same(ask("POST", "/v1.0/publish/pubsub/orders?metadata.ttlInSeconds=100", b"x", {"content-type": "text/plain"})[0], 204)
    event = seen.next("/orders")
    same(event.data, "x")
    assert event.attributes["expiration"]
    entries = [{"entryId": "1", "event": {"n": 1}, "contentType": "application/json"},
               {"entryId": "2", "event": "t", "contentType": "text/plain"}]
    same(ask("POST", "/v1.0/publish/bulk/pubsub/orders", json.dumps(entries).encode())[0], 204)
    same_in_any_order([seen.next("/orders").data for _ in entries], [{"n": 1}, "t"])
    same(error_of(ask("POST", "/v1.0/publish/nope/t", b"1")), (404, "ERR_PUBSUB_NOT_FOUND"))


def others_over_http(seen):
    """secrets, configuration, locks, bindings, metadata, health: statuses and bodies"""
    same(json.loads(ask("GET", "/v1.0/secrets/filesecrets/plain")[2]), {"plain": "p"})
    same(error_of(ask("GET", "/v1.0/secrets/nope/k")), (401, "ERR_SECRET_STORE_NOT_FOUND"))
    same(set(json.loads(ask("GET", "/v1.0/secrets/filesecrets/bulk")[2])), {"plain", "db:user"})
    set_item("colour", "white")
    eventually(lambda: b'"white"' in ask("GET", "/v1.0/configuration/configstore?key=colour")[2])
    lock = b'{"resourceId":"h","lockOwner":"o","expiryInSeconds":60}'
    same(json.loads(ask("POST", "/v1.0-alpha1/lock/lockstore", lock)[2]), {"success": True})
    same(json.loads(ask("POST", "/v1.0-alpha1/unlock/lockstore", lock)[2]), {"status": 0})
    write = {"operation": "create", "data": "d", "metadata": {"fileName": "h.txt"}}
    same(ask("POST", "/v1.0/bindings/files", json.dumps(write).encode())[0], 200)
    read = {"operation": "get", "metadata": {"fileName": "h.txt"}}
    same(ask("POST", "/v1.0/bindings/files", json.dumps(read).encode())[2].strip(b'"'), b"d")
    same(error_of(ask("POST", "/v1.0/bindings/nope", b"{}")), (500, "ERR_INVOKE_OUTPUT_BINDING"))
    same(ask("PUT", "/v1.0/metadata/h", b"text")[0], 204)
    got = json.loads(ask("GET", "/v1.0/metadata")[2])
    same((got["id"], got["extended"]["h"]), (APP_ID, "text"))
    assert {one["topic"] for one in got["subscriptions"]} >= {"orders", "declared"}, got["subscriptions"]
    same((ask("GET", "/v1.0/healthz")[0], ask("GET", "/v1.0/healthz/outbound")[0]), (204, 204))
    same(error_of(ask("GET", "/v1.0/healthz?appid=another")), (500, "ERR_HEALTH_APPID_NOT_MATCH"))


def tokens(seen):
    """without the token of callers 401, but not for health; the app gets its own token"""
    app_token = os.environ["APP_API_TOKEN"]
    status, headers, body = ask("GET", "/v1.0/metadata", token=None)
    same((status, body), (401, b"invalid api token\n"))
    same(ask("GET", "/v1.0/metadata", token="wrong")[0], 401)
    same(ask("GET", "/v1.0/healthz", token=None)[0], 204)
    same(ask("POST", "/v1.0/publish/pubsub/orders", b"1")[0], 204)
    same(seen.next("/orders").headers["dapr-api-token"], app_token)
    said = json.loads(ask("GET", f"/v1.0/invoke/{APP_ID}/method/echo")[2])
    same(said["headers"]["dapr-api-token"], app_token)


SCENARIOS = [state_over_http, publish_over_http, others_over_http]
