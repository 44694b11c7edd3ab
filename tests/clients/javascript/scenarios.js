// Scenarios for a client over either protocol.

const assert = require("node:assert");
const { HttpMethod, StateConcurrencyEnum, StateConsistencyEnum } = require("@dapr/dapr");
const { env, eventually, fails, setItem, sleep } = require("./harness");

const store = "statestore";
const json = { contentType: "application/json" };
// The gRPC client gives what it got as it is.
const value = (got) => (typeof got === "string" && got ? JSON.parse(got) : got);

// The HTTP client returns errors of state and publish, the gRPC client throws them.
const errorOf = (call) => call.then((answer) => String(answer?.error), (thrown) => String(thrown.error ?? thrown));

async function state(client, report) {
  const { state } = client;
  await report.run("values", "save, get, delete, absent", async () => {
    assert.ok(!(await state.get(store, "none")));
    await state.save(store, [{ key: "k", value: { n: 1 } }, { key: "l", value: [2] }]);
    assert.deepStrictEqual(value(await state.get(store, "k")), { n: 1 });
    const strong = { consistency: StateConsistencyEnum.CONSISTENCY_STRONG };
    assert.deepStrictEqual(value(await state.get(store, "l", strong)), [2]);
    await state.delete(store, "k");
    assert.ok(!(await state.get(store, "k")));
  });
  await report.run("etags", "a stale etag is refused, for save and delete; first write wins", async () => {
    await state.save(store, [{ key: "e", value: 1 }]);
    const [{ etag }] = await state.getBulk(store, ["e"]);
    const options = { concurrency: StateConcurrencyEnum.CONCURRENCY_FIRST_WRITE };
    const save = (etag, value) => errorOf(state.save(store, [{ key: "e", value, etag, options }]));
    assert.match(await save("999", 2), /etag mismatch/);
    assert.strictEqual(await save(etag, 3), "undefined");
    assert.match(await errorOf(state.delete(store, "e", { etag: "999" })), /etag mismatch/);
    assert.strictEqual(value(await state.get(store, "e")), 3);
  });
  await report.run("bulk and transactions", "several at once; all or nothing", async () => {
    await state.transaction(store, [
      { operation: "upsert", request: { key: "x", value: "2" } },
      { operation: "delete", request: { key: "e" } },
    ]);
    const got = await state.getBulk(store, ["x", "e"], { parallelism: 2 });
    const byKey = Object.fromEntries(got.map(({ key, data }) => [key, value(data)]));
    assert.strictEqual(byKey.x, 2);
    assert.ok(!byKey.e);
  });
  await report.run("ttl", "a value with ttlInSeconds goes by itself", async () => {
    const start = performance.now();
    await state.save(store, [{ key: "t", value: 1, metadata: { ttlInSeconds: "1" } }]);
    const got = value(await state.get(store, "t"));
    // A busy machine may be too late to see it.
    if (performance.now() - start < 1000) assert.strictEqual(got, 1);
    await eventually(async () => !(await state.get(store, "t")), "its end");
  });
  await report.run("mistakes", "an unknown store, a query", async () => {
    await fails(() => state.get("nope", "k"), "state store nope is not found");
    await fails(() => state.query(store, { filter: {}, sort: [], page: { limit: 1 } }), "query");
  });
}

async function pubsub(client, report, seen) {
  const { pubsub } = client;
  const next = async (route) => (await seen.next(route)).data;
  await report.run("publish", "JSON and text arrive as what they are", async () => {
    await pubsub.publish("pubsub", "orders", { n: 1 });
    assert.deepStrictEqual(await next("orders"), { n: 1 });
    await pubsub.publish("pubsub", "orders", "text", { contentType: "text/plain" });
    assert.strictEqual(await next("orders"), "text");
    assert.match(await errorOf(pubsub.publish("nope", "t", "x")), /pubsub nope is not found/);
  });
  await report.run("bulk publish", "several events in one call", async () => {
    const entries = [{ n: 1 }, { entryID: "2", event: "text", contentType: "text/plain" }];
    assert.deepStrictEqual((await pubsub.publishBulk("pubsub", "orders", entries)).failedMessages, []);
    const got = [await next("orders"), await next("orders")].map((data) => JSON.stringify(data)).sort();
    assert.deepStrictEqual(got, [`"text"`, `{"n":1}`]);
  });
  await report.run("bulk subscribe", "several events in one delivery", async () => {
    await pubsub.publishBulk("pubsub", "bulk", [{ n: 1 }, { n: 2 }, { n: 3 }]);
    const got = [await next("bulk"), await next("bulk"), await next("bulk")].map((data) => data.n).sort();
    assert.deepStrictEqual(got, [1, 2, 3]);
  });
  await report.run("rules", "the first rule that matches decides on the route, else the default", async () => {
    await pubsub.publish("pubsub", "routed", { n: 1 }, { ...json, metadata: { "cloudevent.type": "a" } });
    await pubsub.publish("pubsub", "routed", { n: 50 }, json);
    await pubsub.publish("pubsub", "routed", { n: 2 }, json);
    assert.deepStrictEqual(await next("routed-a"), { n: 1 });
    assert.deepStrictEqual(await next("routed-big"), { n: 50 });
    assert.deepStrictEqual(await next("routed-rest"), { n: 2 });
  });
  await report.run("dead letter", "what the app drops goes there", async () => {
    await pubsub.publish("pubsub", "poison", { bad: true });
    assert.deepStrictEqual(await next("poison"), { bad: true });
    assert.deepStrictEqual(await next("poison-dead"), { bad: true });
  });
  await report.run("refused", "without a Resiliency resource, an event that the app wants again is gone", async () => {
    await pubsub.publish("pubsub", "refused", "refuse", { contentType: "text/plain" });
    await pubsub.publish("pubsub", "refused", "take", { contentType: "text/plain" });
    assert.deepStrictEqual([await next("refused"), await next("refused")], ["refuse", "take"]);
    assert.strictEqual(seen.count("refused"), 0);
  });
  await report.run("redelivery", "with one, it comes again until the app takes it", async () => {
    await pubsub.publish("resilient", "retried", { r: 1 });
    for (let attempt = 0; attempt < 3; attempt++) assert.deepStrictEqual(await next("retried"), { r: 1 });
    await pubsub.publish("resilient", "retried", { r: 2 });
    assert.deepStrictEqual(await next("retried"), { r: 2 });
  });
  await report.run("raw", "raw payloads: without an envelope, there and back", async () => {
    await pubsub.publish("pubsub", "raw", { raw: 1 }, { metadata: { rawPayload: true } });
    assert.deepStrictEqual(value(String(await jsonOf(next("raw")))), { raw: 1 });
  });
}

// The HTTP server parses what is JSON, the gRPC server gives the bytes.
async function jsonOf(data) {
  const got = await data;
  return Buffer.isBuffer(got) || typeof got === "string" ? got.toString() : JSON.stringify(got);
}

async function blocks(client, report, seen) {
  await report.run("invoke", "verb and body arrive; so does the answer", async () => {
    const said = await client.invoker.invoke(env.APP_ID, "echo", HttpMethod.POST, { hi: 1 });
    assert.strictEqual(said.method, "POST");
    assert.deepStrictEqual(value(said.body), { hi: 1 });
    assert.strictEqual((await client.invoker.invoke(env.APP_ID, "echo", HttpMethod.GET)).method, "GET");
    await fails(() => client.invoker.invoke("nobody", "echo", HttpMethod.GET), "nobody");
  });
  await report.run("secrets", "of the environment and of a file, one and all", async () => {
    const secret = { CLIENT_SECRET: "from the environment" };
    assert.deepStrictEqual(await client.secret.get("envsecrets", "CLIENT_SECRET"), secret);
    assert.deepStrictEqual(await client.secret.get("filesecrets", "db:user"), { "db:user": "u" });
    const all = await client.secret.getBulk("filesecrets");
    assert.deepStrictEqual(Object.keys(all).sort(), ["db:user", "plain"]);
    await fails(() => client.secret.get("nope", "k"), "nope");
  });
  await report.run("locks", "held by one at a time, given back", async () => {
    const lock = (owner) => client.lock.lock("lockstore", env.APP_ID, owner, 60);
    assert.strictEqual((await lock("me")).success, true);
    assert.strictEqual((await lock("you")).success, false);
    const unlock = async (owner) => (await client.lock.unlock("lockstore", env.APP_ID, owner)).status;
    // In the SDK's numbers: 0 done, 2 another's, 1 none there.
    assert.deepStrictEqual([await unlock("you"), await unlock("me"), await unlock("me")], [2, 0, 1]);
  });
  await report.run("bindings", "local storage and HTTP; cron calls the app", async () => {
    await client.binding.send("files", "create", "content", { fileName: "js.txt" });
    const read = await client.binding.send("files", "get", "", { fileName: "js.txt" });
    assert.match(read.data ? Buffer.from(read.data).toString() : JSON.stringify(read), /content/);
    await client.binding.send("files", "delete", "", { fileName: "js.txt" });
    await fails(() => client.binding.send("nope", "get", ""), "nope");
    await seen.next("tick");
    await seen.next("tick");
  });
  await report.run("metadata", "id, components, what the app adds; healthy", async () => {
    assert.strictEqual(await client.health.isHealthy(), true);
    await client.metadata.set("k", "v");
    const got = await client.metadata.get();
    assert.strictEqual(got.id, env.APP_ID);
    const names = got.components.map(({ name }) => name);
    for (const name of ["statestore", "pubsub", "files", "configstore"]) assert.ok(names.includes(name), name);
  });
}

async function configuration(client, report) {
  await report.run("configuration", "read, and watched while it changes outside", async () => {
    const read = async () => (await client.configuration.get("configstore", ["colour"])).items.colour?.value;
    setItem("colour", "blue");
    await eventually(async () => (await read()) === "blue", "colour");
    const changes = [];
    const stream = await client.configuration.subscribeWithKeys("configstore", ["colour"], async ({ items }) => {
      changes.push(items.colour.value);
    });
    // The SDK does not tell when it is subscribed.
    for (let nth = 0; nth < 20 && changes.length === 0; nth++) {
      setItem("colour", `red ${nth}`);
      await sleep(500);
    }
    assert.match(changes.at(-1) ?? "no change", /^red/);
    stream.stop();
    setItem("colour", "black");
    await eventually(async () => (await read()) === "black", "colour");
    assert.ok(!changes.includes("black"), changes);
  });
}

module.exports = { blocks, configuration, pubsub, state };
