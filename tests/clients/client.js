// Drives the sidecar at DAPR_GRPC_PORT and DAPR_HTTP_PORT with the JavaScript SDK of Dapr: its client over HTTP, its
// server as the app at APP_PORT. Started by run.sh, as the command of the example `sidecar`.

const assert = require("node:assert");
const { DaprClient, DaprServer, HttpMethod, CommunicationProtocolEnum } = require("@dapr/dapr");

const daprHost = "127.0.0.1";

// What is published before the sidecar has read the subscriptions is lost, as with daprd.
async function ready() {
  for (;;) {
    const response = await fetch(`http://${daprHost}:${process.env.DAPR_HTTP_PORT}/v1.0/healthz`);
    if (response.status === 204) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function main() {
  const events = [];
  let arrived = () => {};
  const http = { daprHost, daprPort: process.env.DAPR_HTTP_PORT };
  const server = new DaprServer({
    serverHost: "127.0.0.1",
    serverPort: process.env.APP_PORT,
    clientOptions: http,
  });
  await server.pubsub.subscribe("pubsub", "orders", async (data) => {
    events.push(data);
    arrived();
  });
  await server.invoker.listen("say", async (data) => ({ said: JSON.parse(data.body) }), { method: HttpMethod.POST });
  await server.start();

  await ready();
  const client = new DaprClient(http);
  // State.
  await client.state.save("statestore", [{ key: "k", value: { n: 1 } }]);
  assert.deepStrictEqual(await client.state.get("statestore", "k"), { n: 1 });
  await client.state.transaction("statestore", [
    { operation: "upsert", request: { key: "x", value: 2 } },
    { operation: "delete", request: { key: "k" } },
  ]);
  const bulk = await client.state.getBulk("statestore", ["x", "k"]);
  assert.deepStrictEqual(bulk.map((item) => item.data), [2, undefined]);
  await client.state.delete("statestore", "x");
  // Publish, and what is delivered.
  const delivered = new Promise((resolve) => (arrived = resolve));
  await client.pubsub.publish("pubsub", "orders", { n: 5 });
  await delivered;
  assert.deepStrictEqual(events, [{ n: 5 }]);
  // Invocation.
  assert.deepStrictEqual(await client.invoker.invoke("js", "say", HttpMethod.POST, { hi: 1 }), { said: { hi: 1 } });
  // Secrets, locks, metadata.
  assert.deepStrictEqual(await client.secret.get("envsecrets", "HOME"), { HOME: process.env.HOME });
  assert.strictEqual((await client.lock.lock("lockstore", "r", "me", 10)).success, true);
  assert.strictEqual((await client.lock.lock("lockstore", "r", "you", 10)).success, false);
  await client.lock.unlock("lockstore", "r", "me");
  await client.metadata.set("k", "v");
  assert.strictEqual((await client.metadata.get()).id, "js");
  await client.stop();

  // Configuration is there over gRPC only.
  const grpc = new DaprClient({
    daprHost,
    daprPort: process.env.DAPR_GRPC_PORT,
    communicationProtocol: CommunicationProtocolEnum.GRPC,
  });
  assert.deepStrictEqual((await grpc.configuration.get("configstore", ["none"])).items, {});
  await grpc.state.save("statestore", [{ key: "g", value: "1" }]);
  assert.ok((await grpc.state.get("statestore", "g")) !== undefined);
  await grpc.stop();
  console.log("javascript: state, publish, invoke, secrets, locks, metadata, configuration, over HTTP and gRPC");
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
