"""Secrets, configuration, locks, bindings, jobs, metadata. `dapr` is a client of the SDK, `seen` what the app got."""

import json
import os
import queue

from dapr.clients.grpc._jobs import ConstantFailurePolicy, DropFailurePolicy, Job
from dapr.clients.grpc._response import UnlockResponseStatus
from google.protobuf.any_pb2 import Any
from harness import APP_ID, PATIENCE, eventually, fails, same, set_item


def secrets(dapr, seen):
    """of the environment and of a file, one and all; the sidecar's tokens are not among them"""
    same(dapr.get_secret("envsecrets", "CLIENT_SECRET").secret, {"CLIENT_SECRET": "from the environment"})
    same(dapr.get_secret("envsecrets", "NO_SUCH_VARIABLE").secret, {"NO_SUCH_VARIABLE": ""})
    everything = dapr.get_bulk_secret("envsecrets").secrets
    same(everything["CLIENT_SECRET"], {"CLIENT_SECRET": "from the environment"})
    assert not {"DAPR_API_TOKEN", "APP_API_TOKEN"} & set(everything), sorted(everything)
    same(dapr.get_secret("filesecrets", "db:user").secret, {"db:user": "u"})
    same(dict(dapr.get_bulk_secret("filesecrets").secrets), {"plain": {"plain": "p"}, "db:user": {"db:user": "u"}})
    fails(lambda: dapr.get_secret("filesecrets", "none"), "none", "INTERNAL")
    fails(lambda: dapr.get_secret("nope", "k"), "nope", "INVALID_ARGUMENT")


def configuration(dapr, seen):
    """read, watched while it changes outside, and no more after unsubscribing"""
    set_item("colour", "blue")
    eventually(lambda: dapr.get_configuration("configstore", ["colour"]).items["colour"].value == "blue")
    same(set(dapr.get_configuration("configstore", ["colour", "none"]).items), {"colour"})
    changes = queue.Queue()

    def changed(_id, response):
        for key, item in response.items.items():
            changes.put((key, item.value))

    subscription = dapr.subscribe_configuration("configstore", ["colour"], changed)
    assert subscription
    for value in ("red", "green"):
        set_item("colour", value)
        same(changes.get(timeout=PATIENCE), ("colour", value))
    item = dapr.get_configuration("configstore", ["colour"]).items["colour"]
    assert item.value == "green" and item.version
    assert dapr.unsubscribe_configuration("configstore", subscription)
    set_item("colour", "black")
    eventually(lambda: dapr.get_configuration("configstore", ["colour"]).items["colour"].value == "black")
    assert changes.empty()
    fails(lambda: dapr.get_configuration("nope", ["k"]), "nope", "INVALID_ARGUMENT")


def locks(dapr, seen):
    """held by one at a time, given back, gone after their time"""
    assert dapr.try_lock("lockstore", "r", "me", 60).success
    assert not dapr.try_lock("lockstore", "r", "you", 60).success
    same(dapr.unlock("lockstore", "r", "you").status, UnlockResponseStatus.lock_belongs_to_others)
    same(dapr.unlock("lockstore", "r", "me").status, UnlockResponseStatus.success)
    same(dapr.unlock("lockstore", "r", "me").status, UnlockResponseStatus.lock_does_not_exist)
    assert dapr.try_lock("lockstore", "short", "me", 1).success
    eventually(lambda: dapr.try_lock("lockstore", "short", "you", 60).success)
    dapr.unlock("lockstore", "short", "you")
    fails(lambda: dapr.try_lock("nope", "r", "me", 1), "nope", "INVALID_ARGUMENT")


def files(dapr, seen):
    """binding of local storage: create, get, list, delete"""

    def invoke(operation, data="", **metadata):
        return dapr.invoke_binding("files", operation, data, binding_metadata=metadata)

    invoke("create", b"content", fileName="folder/a.txt")
    same(invoke("get", fileName="folder/a.txt").data, b"content")
    assert "a.txt" in invoke("list").text() and "a.txt" in invoke("list", fileName="folder").text()
    invoke("delete", fileName="folder/a.txt")
    fails(lambda: invoke("get", fileName="folder/a.txt"), "a.txt", "INTERNAL")
    fails(lambda: invoke("polish", fileName="a"), "operation", "INTERNAL")
    fails(lambda: dapr.invoke_binding("nope", "get"), "nope", "INTERNAL")


def http_output(dapr, seen):
    """binding to an HTTP server: its answer, its status, and that of a failure"""
    answer = dapr.invoke_binding("web", "post", '{"b":1}', binding_metadata={"path": "/echo?q=1"})
    said = json.loads(answer.data)
    same((said["method"], said["path"], said["body"]), ("POST", "/echo?q=1", '{"b":1}'))
    same(answer.binding_metadata["statusCode"], "200")
    same(json.loads(dapr.invoke_binding("web", "get", "").data)["method"], "GET")
    fails(lambda: dapr.invoke_binding("web", "get", "", binding_metadata={"path": "/missing"}), "404", "INTERNAL")


def cron(dapr, seen):
    """an input binding calls the app, each second"""
    seen.next("/tick")
    seen.next("/tick")


def jobs(dapr, seen):
    """scheduled, called back with the data, read, overwritten, deleted"""
    text = Any(type_url="type.googleapis.com/google.protobuf.StringValue", value=b"\n\x05hello")
    dapr.schedule_job(Job(name="once", due_time="0s", data=text))
    assert b"hello" in seen.next("/job/once")
    policy = ConstantFailurePolicy(max_retries=2, interval_seconds=1)
    job = Job(name="later", schedule="@every 1h", repeats=3, ttl="10h", data=text, failure_policy=policy)
    dapr.schedule_job(job)
    got = dapr.get_job("later")
    same((got.name, got.schedule, got.repeats), ("later", "@every 1h", 3))
    same(got.data.value, text.value)
    same((got.failure_policy.max_retries, got.failure_policy.interval_seconds), (2, 1))
    fails(lambda: dapr.schedule_job(job), "already exists", "ALREADY_EXISTS")
    dapr.schedule_job(Job(name="later", due_time="1h", failure_policy=DropFailurePolicy()), overwrite=True)
    same(dapr.get_job("later").due_time, "1h")
    dapr.delete_job("later")
    fails(lambda: dapr.get_job("later"), "later", "INTERNAL")
    fails(lambda: dapr.schedule_job(Job(name="bad", schedule="sometimes")), "sometimes")


def repeated_jobs(dapr, seen):
    """a job comes as often as it is to be repeated, and again after a failure"""
    dapr.schedule_job(Job(name="often", schedule="@every 1s", repeats=2))
    seen.next("/job/often")
    seen.next("/job/often")
    policy = ConstantFailurePolicy(max_retries=2, interval_seconds=1)
    dapr.schedule_job(Job(name="fragile", due_time="0s", failure_policy=policy))
    seen.next("/job/fragile")
    seen.next("/job/fragile")


def metadata(dapr, seen):
    """id, components, what the app adds; healthy"""
    dapr.wait(PATIENCE)
    dapr.set_metadata("k", "v")
    got = dapr.get_metadata()
    same((got.application_id, got.extended_metadata["k"]), (APP_ID, "v"))
    assert got.extended_metadata["daprRuntimeVersion"]
    types = {one.name: one.type for one in got.registered_components}
    wanted = {"statestore": "state.in-memory", "pubsub": "pubsub.in-memory", "files": "bindings.localstorage"}
    same({name: types.get(name) for name in wanted}, wanted)
    same((types["envsecrets"], types["filesecrets"]), ("secretstores.local.env", "secretstores.local.file"))



SCENARIOS = [secrets, configuration, locks, files, http_output, cron, metadata]
# They need daprd's scheduler.
if not os.environ.get("NO_SCHEDULER"):
    SCENARIOS += [jobs, repeated_jobs]
