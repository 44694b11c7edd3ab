// Actors: hosted by the SDK's HTTP server, called by its proxy.

const assert = require("node:assert");
const { AbstractActor, ActorId, ActorProxyBuilder, Temporal } = require("@dapr/dapr");
const { env, fails, host } = require("./harness");

let seen;
const second = () => Temporal.Duration.from({ seconds: 1 });

class Counter extends AbstractActor {
  async add(number) {
    const [has, count] = await this.getStateManager().tryGetState("count");
    const sum = number + (has ? count : 0);
    await this.getStateManager().setState("count", sum);
    await this.getStateManager().saveState();
    return sum;
  }

  async break() {
    throw new Error("broken on purpose");
  }

  async startReminder() {
    await this.registerActorReminder("ring", second(), second(), undefined, 7);
  }

  async stopReminder() {
    await this.unregisterActorReminder("ring");
  }

  async receiveReminder(data) {
    seen.put("reminder", data);
  }

  async startTimer() {
    await this.registerActorTimer("tick", "onTimer", second(), second(), undefined, 8);
  }

  async stopTimer() {
    await this.unregisterActorTimer("tick");
  }

  async onTimer(data) {
    seen.put("timer", data);
  }
}

async function hostActors(server, arrivals) {
  seen = arrivals;
  await server.actor.init();
  await server.actor.registerActor(Counter);
}

async function areHosted() {
  const headers = env.DAPR_API_TOKEN ? { "dapr-api-token": env.DAPR_API_TOKEN } : {};
  const answer = await fetch(`http://${host}:${env.DAPR_HTTP_PORT}/v1.0/metadata`, { headers });
  return (await answer.json()).actorRuntime.runtimeStatus === "RUNNING";
}

async function actors(client, report) {
  const counter = (id) => new ActorProxyBuilder(Counter, client).build(new ActorId(id));
  await report.run("actor methods", "methods of an actor, its state between calls, an error", async () => {
    const a = counter("a");
    assert.deepStrictEqual([await a.add(2), await a.add(3), await counter("b").add(1)].map(Number), [2, 5, 1]);
    await fails(() => a.break(), "500");
  });
  await report.run("actor reminders and timers", "they come again and again with their data", async () => {
    const c = counter("c");
    await c.startReminder();
    await c.startTimer();
    for (let times = 0; times < 2; times++) {
      assert.strictEqual(Number(await seen.next("reminder")), 7);
      assert.strictEqual(Number(await seen.next("timer")), 8);
    }
    await c.stopReminder();
    await c.stopTimer();
  });
}

module.exports = { actors, areHosted, hostActors };
