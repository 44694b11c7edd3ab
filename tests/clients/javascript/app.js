// The app, over either protocol: what it subscribes to, and what it answers.

const { DaprServer, DaprPubSubStatusEnum, HttpMethod } = require("@dapr/dapr");
const { env, host } = require("./harness");

const { SUCCESS, RETRY, DROP } = DaprPubSubStatusEnum;

async function start(seen, options) {
  const server = new DaprServer({ serverHost: host, serverPort: env.APP_PORT, ...options });
  let attempts = 0;
  const take = (route, verdict = () => SUCCESS) => async (data, headers) => {
    seen.put(route, { data, headers });
    return verdict(data);
  };
  const { pubsub } = server;
  await pubsub.subscribe("pubsub", "orders", take("orders"));
  await pubsub.subscribe("pubsub", "raw", take("raw"), "raw", { rawPayload: true });
  await pubsub.subscribeBulk("pubsub", "bulk", take("bulk"), { maxMessagesCount: 3, maxAwaitDurationMs: 500 });
  const routes = {
    default: "routed-rest",
    rules: [
      { match: `event.type == "a"`, path: "routed-a" },
      { match: "event.data.n > 10", path: "routed-big" },
    ],
  };
  await pubsub.subscribeWithOptions("pubsub", "routed", { route: routes });
  for (const route of ["routed-a", "routed-big", "routed-rest"]) {
    pubsub.subscribeToRoute("pubsub", "routed", route, take(route));
  }
  await pubsub.subscribeWithOptions("pubsub", "poison", {
    callback: take("poison", () => DROP),
    deadLetterTopic: "poison-dead",
  });
  await pubsub.subscribe("pubsub", "poison-dead", take("poison-dead"));
  await pubsub.subscribe("pubsub", "refused", take("refused", (data) => (data === "refuse" ? RETRY : SUCCESS)));
  await pubsub.subscribe("resilient", "retried", take("retried", () => (++attempts < 3 ? RETRY : SUCCESS)));

  await server.binding.receive("tick", async () => seen.put("tick", {}));
  const echo = (method) => async (said) => ({ method, body: said.body, query: said.query });
  await server.invoker.listen("echo", echo("POST"), { method: HttpMethod.POST });
  await server.invoker.listen("echo", echo("GET"), { method: HttpMethod.GET });
  return server;
}

module.exports = { start };
