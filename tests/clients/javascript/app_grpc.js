// The SDK over gRPC: its server as the app, its client.

const { CommunicationProtocolEnum, DaprClient } = require("@dapr/dapr");
const { Report, Seen, env, host, ready } = require("./harness");
const { start } = require("./app");
const { blocks, configuration, pubsub, state } = require("./scenarios");

async function main() {
  const seen = new Seen();
  const communicationProtocol = CommunicationProtocolEnum.GRPC;
  const options = { daprHost: host, daprPort: env.DAPR_GRPC_PORT, communicationProtocol };
  const server = await start(seen, { communicationProtocol, clientOptions: options });
  await server.start();
  await ready();
  const client = new DaprClient(options);
  const report = new Report("javascript/grpc");
  await state(client, report);
  await pubsub(client, report, seen);
  await blocks(client, report, seen);
  await configuration(client, report);
  report.known("actors", "the SDK hosts them over HTTP only");
  report.known("jobs", "the SDK has no call for them");
  await report.shutDown(client);
}

main().catch((error) => {
  console.log(error);
  process.exit(1);
});
