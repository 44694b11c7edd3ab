"""The state building block. `dapr` is a client of the SDK."""

import time

from dapr.clients.grpc._request import TransactionalStateOperation as Operation
from dapr.clients.grpc._request import TransactionOperationType as Kind
from dapr.clients.grpc._state import Concurrency, Consistency, StateItem, StateOptions
from harness import eventually, fails, same

STORE = "statestore"
FIRST_WRITE = StateOptions(concurrency=Concurrency.first_write)
STRONG = StateOptions(consistency=Consistency.strong, concurrency=Concurrency.last_write)


def values(dapr):
    """save, get, overwrite, delete, absent, bytes as they are"""
    same(dapr.get_state(STORE, "none").data, b"")
    same(dapr.get_state(STORE, "none").etag, "")
    dapr.save_state(STORE, "k", "v")
    same(dapr.get_state(STORE, "k").data, b"v")
    dapr.save_state(STORE, "k", bytes(range(256)))
    same(dapr.get_state(STORE, "k").data, bytes(range(256)))
    dapr.save_state(STORE, "k", "strong", options=STRONG)
    same(dapr.get_state(STORE, "k", state_metadata={"x": "y"}).data, b"strong")
    dapr.delete_state(STORE, "k")
    dapr.delete_state(STORE, "k")
    same(dapr.get_state(STORE, "k").data, b"")


def etags(dapr):
    """stale etag refused, current one taken, for save and delete; first write wins"""
    dapr.save_state(STORE, "e", "1")
    first = dapr.get_state(STORE, "e").etag
    dapr.save_state(STORE, "e", "2", etag=first)
    second = dapr.get_state(STORE, "e").etag
    assert first and second and first != second
    fails(lambda: dapr.save_state(STORE, "e", "3", etag=first), "possible etag mismatch", "ABORTED")
    fails(lambda: dapr.delete_state(STORE, "e", etag=first), "etag mismatch", "ABORTED")
    fails(lambda: dapr.save_state(STORE, "e", "3", options=FIRST_WRITE), "ABORTED")
    dapr.save_state(STORE, "e", "3", etag=second, options=FIRST_WRITE)
    dapr.delete_state(STORE, "e", etag=dapr.get_state(STORE, "e").etag)
    same(dapr.get_state(STORE, "e").data, b"")


def ttl(dapr):
    """a value with ttlInSeconds goes by itself; a bad ttl is refused"""
    dapr.save_state(STORE, "u", "long", state_metadata={"ttlInSeconds": "100"})
    start = time.monotonic()
    dapr.save_state(STORE, "t", "short", state_metadata={"ttlInSeconds": "1"})
    got = dapr.get_state(STORE, "t").data
    if time.monotonic() - start < 1:  # A busy machine may be too late to see it.
        same(got, b"short")
    eventually(lambda: dapr.get_state(STORE, "t").data == b"")
    same(dapr.get_state(STORE, "u").data, b"long")
    fails(lambda: dapr.save_state(STORE, "t", "x", state_metadata={"ttlInSeconds": "soon"}), "soon", "INTERNAL")
    dapr.delete_state(STORE, "u")


def bulk(dapr):
    """several saved and read at once, in the order that was asked for, absent ones empty"""
    items = [StateItem("a", "1"), StateItem("b", "2", metadata={"ttlInSeconds": "100"}), StateItem("c", b"3")]
    dapr.save_bulk_state(STORE, items)
    got = dapr.get_bulk_state(STORE, ["c", "none", "a", "b"], parallelism=2).items
    same({one.key: one.data for one in got}, {"c": b"3", "none": b"", "a": b"1", "b": b"2"})
    assert all(one.etag or one.key == "none" for one in got), got
    same([one.error for one in got], [""] * 4)
    for key in "abc":
        dapr.delete_state(STORE, key)


def transactions(dapr):
    """all of it or nothing; an etag that does not match undoes all"""
    upsert, delete = Kind.upsert, Kind.delete
    dapr.save_state(STORE, "old", "1")
    dapr.execute_state_transaction(STORE, [
        Operation(operation_type=upsert, key="new", data="2"),
        Operation(operation_type=delete, key="old"),
    ])
    got = dapr.get_bulk_state(STORE, ["old", "new"]).items
    same({one.key: one.data for one in got}, {"old": b"", "new": b"2"})
    stale = [
        Operation(operation_type=upsert, key="never", data="3"),
        Operation(operation_type=upsert, key="new", data="4", etag="99999"),
    ]
    fails(lambda: dapr.execute_state_transaction(STORE, stale), "etag", "INTERNAL")
    got = dapr.get_bulk_state(STORE, ["never", "new"]).items
    same({one.key: one.data for one in got}, {"never": b"", "new": b"2"})
    dapr.delete_state(STORE, "new")


def mistakes(dapr):
    """unknown store, empty key, a key with the reserved separator, a query"""
    fails(lambda: dapr.get_state("nope", "k"), "state store nope is not found", "INVALID_ARGUMENT")
    fails(lambda: dapr.save_state("nope", "k", "v"), "nope is not found", "INVALID_ARGUMENT")
    fails(lambda: dapr.save_state(STORE, "a||b", "v"), "||", "INVALID_ARGUMENT")
    fails(lambda: dapr.query_state(STORE, "{}"), "query", "INTERNAL")


SCENARIOS = [values, etags, ttl, bulk, transactions, mistakes]
