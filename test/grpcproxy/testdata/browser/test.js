// What a page does with Portico's gRPC services: by Connect and by gRPC-Web, with the library that pages use. Arguments: the gateway's HTTP address, a file with the services' descriptors.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const need = createRequire(process.env.MODULES + "/");
const { createFileRegistry, fromBinary } = need("@bufbuild/protobuf");
const { FileDescriptorSetSchema } = need("@bufbuild/protobuf/wkt");
const { Code, ConnectError, createClient } = need("@connectrpc/connect");
const { createConnectTransport, createGrpcWebTransport } = need("@connectrpc/connect-web");

const [baseUrl, descriptors] = process.argv.slice(2);
const service = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors))).getService("portico.v1.PorticoService");

for (const [name, transport] of [
  ["Connect", createConnectTransport({ baseUrl })],
  ["Connect, binary", createConnectTransport({ baseUrl, useBinaryFormat: true })],
  ["gRPC-Web", createGrpcWebTransport({ baseUrl })],
]) {
  const client = createClient(service, transport);
  const gone = new AbortController();
  let began;
  const inForce = new Promise((resolve) => (began = resolve));
  const messages = client.subscribe({ subjects: ["page.*"] }, { signal: gone.signal, onHeader: began })[Symbol.asyncIterator]();
  const first = messages.next();
  await inForce;
  const { live } = await client.publish({ message: { subject: "page.x", data: new TextEncoder().encode("hello") } });
  const { value } = await first;
  gone.abort();
  console.log(`${name}: live ${live}, received ${new TextDecoder().decode(value.message.data)}`);
  try {
    await client.request({ message: { subject: "nobody.here" } });
  } catch (err) {
    const e = ConnectError.from(err);
    console.log(`${name}: ${Code[e.code]}, ${e.details.length > 0 ? "with details" : "without details"}`);
  }
}
process.exit(0); // fetch keeps its connections for a while
