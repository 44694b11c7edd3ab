// The SDK over HTTP: its server as the app, its client.

const assert = require("node:assert");
const { DaprClient } = require("@dapr/dapr");
const { Report, Seen, env, host, ready } = require("./harness");
const { actors, areHosted, hostActors } = require("./actors");
const { start } = require("./app");
const { blocks, pubsub, state } = require("./scenarios");

async function main() {
  const seen = new Seen();
  const options = { daprHost: host, daprPort: env.DAPR_HTTP_PORT };
  const server = await start(seen, { clientOptions: options });
  await hostActors(server, seen);
  await server.start();
  await ready();
  const client = new DaprClient(options);
  const report = new Report("javascript/http");
  await state(client, report);
  await pubsub(client, report, seen);
  await blocks(client, report, seen);
  report.known("configuration", "the SDK has it over gRPC only");
  report.known("jobs", "the SDK has no call for them");
  await report.run("tokens", "callers without the token are refused; the app gets its own", async () => {
    // The SDK's own client would wait for a minute.
    const url = `http://${host}:${env.DAPR_HTTP_PORT}/v1.0/metadata`;
    assert.strictEqual((await fetch(url, { headers: { "dapr-api-token": "wrong" } })).status, 401);
    await client.pubsub.publish("pubsub", "orders", { n: 1 });
    assert.strictEqual((await seen.next("orders")).headers["dapr-api-token"], env.APP_API_TOKEN);
  });
  if (await areHosted()) await actors(client, report);
  else report.skip("actors", "the sidecar has no placement service");
  await report.shutDown(client);
}

main().catch((error) => {
  console.log(error);
  process.exit(1);
});
