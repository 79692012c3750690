// Portico over gRPC from Node: publish and subscribe, request and reply, work from a queue.
"use strict";

const path = require("node:path");
const { once } = require("node:events");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const protos = path.resolve(__dirname, "../../../../proto");
const { portico } = grpc.loadPackageDefinition(
  loader.loadSync("portico/v1/portico.proto", { includeDirs: [protos], keepCase: true, longs: String, enums: String, defaults: true, oneofs: true }),
);

const deadline = () => new Date(Date.now() + 30_000); // for everything

// call makes a unary call a promise.
const call = (client, method, request) =>
  new Promise((resolve, reject) =>
    client[method](request, new grpc.Metadata(), { deadline: deadline() }, (err, response) => (err ? reject(err) : resolve(response))),
  );

async function publishAndSubscribe(client) {
  const messages = client.Subscribe({ subjects: ["node.greetings.*"] }, new grpc.Metadata(), { deadline: deadline() });
  messages.on("error", (err) => {
    if (err.code !== grpc.status.CANCELLED) throw err;
  });
  await once(messages, "metadata"); // it is in force
  const next = once(messages, "data");
  const receipt = await call(client, "Publish", { message: { subject: "node.greetings.you", data: Buffer.from("hello") } });
  console.log("published, somebody listens:", receipt.live);
  const [{ message }] = await next;
  console.log(`received ${message.data} on ${message.subject}`);
  messages.cancel();
}

async function requestAndServe(client) {
  const calls = client.Serve(new grpc.Metadata(), { deadline: deadline() });
  const ended = once(calls, "end");
  calls.on("data", ({ call: asked }) => {
    if (!asked) return;
    const { data } = asked.message;
    calls.write({ answer: { id: asked.id, message: { data: Buffer.concat([data, data]) } } });
    calls.end(); // this one answers once
  });
  calls.write({ start: { subject: "node.double", group: "doublers" } });
  await once(calls, "metadata");
  const answer = await call(client, "Request", { message: { subject: "node.double", data: Buffer.from("ab") } });
  console.log(`answered ${answer.message.data}`);
  await ended;
}

async function work(client) {
  await call(client, "DeclareQueue", { queue: { name: "node.jobs", durable: true } });
  await call(client, "Bind", { queue: "node.jobs", pattern: "node.jobs.*" });
  for (const job of ["one", "two", "three"]) {
    await call(client, "Publish", { message: { subject: "node.jobs.new", data: Buffer.from(job) } });
  }
  const frames = client.Consume(new grpc.Metadata(), { deadline: deadline() });
  const working = new Map();
  let settled = 0;
  frames.write({ start: { queue: "node.jobs", credit: 2, lease: { seconds: 60 } } });
  for await (const frame of frames) {
    for (const delivery of frame.deliveries?.deliveries ?? []) {
      working.set(delivery.id, delivery.message.data);
      frames.write({ ack: { ids: [delivery.id] } });
    }
    for (const id of frame.settled?.ids ?? []) {
      console.log(`done ${working.get(id)}`);
      working.delete(id);
      if (++settled === 3) frames.end();
    }
  }
}

async function main() {
  const client = new portico.v1.PorticoService(process.argv[2] ?? "127.0.0.1:50051", grpc.credentials.createInsecure());
  try {
    await publishAndSubscribe(client);
    await requestAndServe(client);
    await work(client);
  } finally {
    client.close();
  }
}

main().catch((err) => {
  console.error(err);
  process.exitCode = 1;
});
