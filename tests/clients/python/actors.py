"""Actors: hosted by the app, called by the SDK's proxy. `seen` is what happened in them."""

import asyncio
import datetime
import json

from dapr.actor import Actor, ActorId, ActorInterface, ActorProxy, Remindable, actormethod
from harness import Seen, ask, eventually, fails, same

seen = Seen()


class CounterInterface(ActorInterface):
    @actormethod("Add")
    async def add(self, number: int) -> int: ...

    @actormethod("Break")
    async def break_(self) -> None: ...

    @actormethod("Slow")
    async def slow(self, name: str) -> None: ...

    @actormethod("StartReminder")
    async def start_reminder(self) -> None: ...

    @actormethod("StopReminder")
    async def stop_reminder(self) -> None: ...

    @actormethod("StartTimer")
    async def start_timer(self) -> None: ...

    @actormethod("StopTimer")
    async def stop_timer(self) -> None: ...


class Counter(Actor, CounterInterface, Remindable):
    async def _on_activate(self):
        seen.put(f"activated {self.id}", True)

    async def add(self, number):
        has, count = await self._state_manager.try_get_state("count")
        count = number + (count if has else 0)
        await self._state_manager.set_state("count", count)
        return count

    async def break_(self):
        raise ValueError("broken on purpose")

    async def slow(self, name):
        seen.put("turns", f"{name} begins")
        await asyncio.sleep(0.2)
        seen.put("turns", f"{name} ends")

    async def start_reminder(self):
        second = datetime.timedelta(seconds=1)
        await self.register_reminder("ring", b"data", datetime.timedelta(0), second)

    async def stop_reminder(self):
        await self.unregister_reminder("ring")

    async def receive_reminder(self, name, state, due_time, period, ttl=None):
        seen.put("reminder", (name, state))

    async def start_timer(self):
        second = datetime.timedelta(seconds=1)
        await self.register_timer("tick", self.on_timer, {"n": 1}, datetime.timedelta(0), second)

    async def stop_timer(self):
        await self.unregister_timer("tick")

    async def on_timer(self, state):
        seen.put("timer", state)


def proxy(actor_id):
    return ActorProxy.create("Counter", ActorId(actor_id), CounterInterface)


def are_hosted():
    return json.loads(ask("GET", "/v1.0/metadata")[2])["actorRuntime"]["runtimeStatus"] == "RUNNING"


def methods():
    """methods of an actor, its state between calls, one activation; an error, an unknown type"""

    async def calls():
        counter = proxy("a")
        same([await counter.Add(2), await counter.Add(3)], [2, 5])
        same(await proxy("b").Add(1), 1)

    asyncio.run(calls())
    same((seen.count("activated a"), seen.count("activated b")), (1, 1))
    # As the store has it, beside the state of the app.
    same(ask("GET", "/v1.0/actors/Counter/a/state/count")[2], b"5")
    fails(lambda: asyncio.run(proxy("a").Break()), "broken on purpose")
    same(asyncio.run(proxy("a").Add(0)), 5)
    nobody = ActorProxy.create("Nobody", ActorId("1"), CounterInterface)
    fails(lambda: asyncio.run(nobody.Add(1)), "Nobody")


def turns():
    """one call of an actor at a time; several actors side by side"""

    async def both():
        await asyncio.gather(proxy("t").Slow("first"), proxy("t").Slow("second"))

    asyncio.run(both())
    order = [seen.next("turns") for _ in range(4)]
    same([order[0].split()[0], order[2].split()[0]], [order[1].split()[0], order[3].split()[0]])


def reminders():
    """a reminder comes again and again with its data until it is unregistered"""
    asyncio.run(proxy("r").StartReminder())
    same([seen.next("reminder"), seen.next("reminder")], [("ring", b"data")] * 2)
    asyncio.run(proxy("r").StopReminder())


def timers():
    """a timer comes again and again with its data until it is unregistered"""
    asyncio.run(proxy("m").StartTimer())
    same([seen.next("timer"), seen.next("timer")], [{"n": 1}] * 2)
    asyncio.run(proxy("m").StopTimer())


def listed():
    """active actors are in the metadata"""

    def count():
        active = json.loads(ask("GET", "/v1.0/metadata")[2])["actorRuntime"].get("activeActors", [])
        return {one["type"]: one["count"] for one in active}

    eventually(lambda: count().get("Counter", 0) >= 4)


SCENARIOS = [methods, turns, reminders, timers, listed]
