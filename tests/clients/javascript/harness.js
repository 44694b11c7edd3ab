// What all scenarios share: how they report, what arrived at the app, and what is set from outside.

const assert = require("node:assert");
const fs = require("node:fs");
const { execFileSync } = require("node:child_process");

const env = process.env;
const host = "127.0.0.1";
const patience = 15_000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Waits until this is true: for what a client cannot be told of.
async function eventually(check, what = "it") {
  for (const end = Date.now() + patience; !(await check()); await sleep(50)) {
    assert.ok(Date.now() < end, `${what} did not come true`);
  }
}

// What arrived at the app, by route, in order.
class Seen {
  #arrived = {};

  put(route, value) {
    (this.#arrived[route] ??= []).push(value);
  }

  count(route) {
    return this.#arrived[route]?.length ?? 0;
  }

  async next(route) {
    await eventually(() => this.count(route) > 0, `an arrival at ${route}`);
    return this.#arrived[route].shift();
  }
}

async function isUp() {
  return (await status()) !== undefined;
}

async function status() {
  try {
    return (await fetch(`http://${host}:${env.DAPR_HTTP_PORT}/v1.0/healthz`)).status;
  } catch {
    return undefined;
  }
}

// What is published before the sidecar has read the subscriptions is lost, as with daprd.
const ready = () => eventually(async () => (await status()) === 204, "health");

// Changes an item of the configuration store from outside: in the file that it follows, or in Redis.
function setItem(key, value) {
  if (env.REDIS_PORT) {
    execFileSync("redis-cli", ["-p", env.REDIS_PORT, "SET", key, `${value}||${Date.now()}`]);
    return;
  }
  const file = env.CONFIGURATION_FILE;
  const items = { ...JSON.parse(fs.readFileSync(file)), [key]: value };
  fs.writeFileSync(`${file}.new`, JSON.stringify(items));
  fs.renameSync(`${file}.new`, file);
}

async function fails(call, ...parts) {
  let answer;
  try {
    answer = await call();
  } catch (error) {
    for (const part of parts) assert.ok(String(error).includes(part), `${part} is not in ${error}`);
    return;
  }
  assert.fail(`did not fail: ${JSON.stringify(answer)}`);
}

// Runs scenarios; a line each, `ok` or `not ok`, which run.sh counts.
class Report {
  failed = 0;

  constructor(client) {
    this.client = client;
  }

  async run(name, checks, scenario) {
    let verdict = "ok";
    try {
      await scenario();
    } catch (error) {
      console.log(error);
      this.failed += 1;
      verdict = "not ok";
    }
    console.log(`${verdict} - ${this.client} ${name}: ${checks}`);
  }

  skip(name, why) {
    console.log(`skip - ${this.client} ${name}: ${why}`);
  }

  // A defect of the SDK that it shows beside a real daprd too: named, not counted.
  known(name, why) {
    console.log(`known - ${this.client} ${name}: ${why}`);
  }

  // A sidecar that shuts down ends its app before the app could say so: what failed so far is the exit code.
  async shutDown(client) {
    if (this.failed > 0) process.exit(1);
    // It is `ok` when run.sh sees both end.
    console.log(`asks - ${this.client} shutdown: the sidecar ends, and its app with it`);
    await client.sidecar.shutdown();
    await eventually(async () => !(await isUp()), "the end");
    process.exit(0);
  }
}

module.exports = { Report, Seen, env, eventually, fails, host, ready, setItem, sleep };
