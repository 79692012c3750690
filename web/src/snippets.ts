// The same action as a command line, or a few lines of JavaScript, for each door.

export const doors = ["WebSocket", "HTTP", "gRPC", "AMQP", "NATS", "MQTT", "STOMP"] as const;
export type Door = (typeof doors)[number];
export type Verb = "publish" | "request" | "subscribe" | "append" | "consume";

/** What is to be done. */
export interface Draft {
  verb: Verb;
  subject: string; // or a subject pattern, or a queue
  payload: string;
  headers: [string, string][];
}

/** Where the gateway is, and who asks. */
export interface Place {
  base: string; // of HTTP, without a slash at its end
  host: string;
  ports: Record<string, number>; // by door in lower case; those that are not here are closed
  user: string; // "" if nobody has logged in
}

export interface Snippet {
  tool: string;
  text: string;
}

/** Quotes a word for a POSIX shell, if it has to be. */
export const shell = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

const js = (v: unknown) => JSON.stringify(v);
const base64 = (text: string) => btoa(String.fromCharCode(...new TextEncoder().encode(text).slice(0, 100_000)));

/** The ways to do it at a door; none if its usual tools cannot. */
export function snippets(door: Door, d: Draft, at: Place): Snippet[] {
  const port = at.ports[door === "WebSocket" ? "http" : door.toLowerCase()];
  return port === undefined ? [] : writers[door](d, at, `${at.host}:${port}`);
}

/** Seconds that wscat stays for what comes; -1: until it is ended. */
const patience: Record<Verb, number> = { publish: 1, append: 1, request: 6, subscribe: -1, consume: -1 };

type Writer = (d: Draft, at: Place, address: string) => Snippet[];

const one = (tool: string, text: string | undefined): Snippet[] => (text === undefined ? [] : [{ tool, text }]);

const writers: Record<Door, Writer> = {
  WebSocket: (d, at) => {
    const url = at.base.replace("http", "ws") + "/ws";
    const frame = shell(frameOf(d));
    const login = at.user === "" ? "" : ` -H ${shell(`Authorization: Basic ${base64(`${at.user}:PASSWORD`)}`)}`;
    return [
      { tool: "JavaScript", text: script(d, at) },
      { tool: "websocat", text: `echo ${frame} | websocat -n --protocol portico.v1.json${login} ${url}` },
      { tool: "wscat", text: `wscat -s portico.v1.json${login} -c ${url} -w ${patience[d.verb]} -x ${frame}` },
    ];
  },
  HTTP: (d, at) => one("curl", curl(d, at)),
  gRPC: (d, at, address) => {
    const login = at.user === "" ? "" : ` -H ${shell(`authorization: Basic ${base64(`${at.user}:PASSWORD`)}`)}`;
    const [method, body] = grpc(d);
    return one("grpcurl", `grpcurl -plaintext${login} -d ${shell(js(body))} ${address} portico.v1.PorticoService/${method}`);
  },
  AMQP: (d, at, address) => one("amqp-tools", amqp(d, `amqp://${at.user === "" ? "guest:guest" : `${encodeURIComponent(at.user)}:PASSWORD`}@${address}`)),
  NATS: (d, at, address) => one("nats", nats(d, `nats://${at.user === "" ? "" : `${encodeURIComponent(at.user)}:PASSWORD@`}${address}`)),
  MQTT: (d, at) => one("mosquitto", mosquitto(d, at)),
  STOMP: (d, at, address) => one("printf and curl", stomp(d, at, address)),
};

function frameOf({ verb, subject, payload, headers }: Draft): string {
  const more = headers.length > 0 ? { headers: grouped(headers) } : {};
  switch (verb) {
    case "publish":
      return js({ op: "pub", id: "1", subject, data: payload, ...more });
    case "request":
      return js({ op: "req", id: "1", subject, data: payload, ...more });
    case "append":
      return js({ op: "append", id: "1", queue: subject, data: payload, ...more });
    case "subscribe":
      return js({ op: "sub", id: "1", sid: "s", subject });
    case "consume":
      return js({ op: "consume", id: "1", sid: "c", queue: subject, credit: 1 });
  }
}

/** Headers as an object: one value, or a list. */
export function grouped(headers: [string, string][]): Record<string, string | string[]> {
  const out: Record<string, string | string[]> = {};
  for (const [name, value] of headers) {
    const before = out[name];
    out[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value];
  }
  return out;
}

function script({ verb, subject, payload, headers }: Draft, at: Place): string {
  const options = headers.length > 0 ? `, { headers: ${js(grouped(headers))} }` : "";
  const login = at.user === "" ? "" : `, { user: ${js(at.user)}, password: "PASSWORD" }`;
  const body = {
    publish: `await portico.publish(${js(subject)}, ${js(payload)}${options})`,
    request: `const answer = await portico.request(${js(subject)}, ${js(payload)}${options})\nconsole.log(answer.text())`,
    append: `await portico.queue(${js(subject)}).append(${js(payload)}${options})`,
    subscribe: `for await (const m of portico.subscribe(${js(subject)})) {\n  console.log(m.subject, m.text())\n}`,
    consume: `for await (const job of portico.consume(${js(subject)})) {\n  console.log(job.text())\n  await job.ack()\n}`,
  }[verb];
  return `import { connect } from ${js(at.base + "/client/portico.js")}\n\nconst portico = connect(${js(at.base.replace("http", "ws") + "/ws")}${login})\n${body}`;
}

function curl({ verb, subject, payload, headers }: Draft, at: Place): string {
  const login = at.user === "" ? "" : ` -u ${shell(`${at.user}:PASSWORD`)}`;
  const own = new Set(["content-type", "content-encoding", "traceparent", "tracestate", "baggage"]);
  const bare = (name: string) => own.has(name.toLowerCase()) || /^(portico|ce|nats)-/i.test(name);
  const typed = headers.some(([name]) => name.toLowerCase() === "content-type") ? [] : ["Content-Type: text/plain"];
  const lines = [...typed, ...headers.map(([name, value]) => `${bare(name) ? name : `Msg-${name}`}: ${value}`)];
  const body = `${lines.map((l) => ` -H ${shell(l)}`).join("")} --data-binary ${shell(payload.startsWith("@") ? " " + payload : payload)}`;
  const path = encodeURIComponent(subject);
  switch (verb) {
    case "publish":
      return `curl${login}${body} ${at.base}/v1/publish/${path}`;
    case "request":
      return `curl${login}${body} ${at.base}/v1/request/${path}`;
    case "append":
      return `curl${login}${body} ${at.base}/v1/queues/${path}/messages`;
    case "subscribe":
      return `curl -N${login} ${shell(`${at.base}/v1/subscribe?subject=${path}`)}`;
    case "consume":
      return `curl${login} -X POST ${shell(`${at.base}/v1/queues/${path}/fetch?max=1&wait=5s&lease=1m`)}`;
  }
}

function grpc({ verb, subject, payload, headers }: Draft): [string, unknown] {
  const lists = Object.fromEntries(Object.entries(grouped(headers)).map(([name, v]) => [name, { values: Array.isArray(v) ? v : [v] }]));
  const content = { ...(headers.length > 0 ? { headers: lists } : {}), data: base64(payload) };
  switch (verb) {
    case "publish":
      return ["Publish", { message: { subject, ...content } }];
    case "request":
      return ["Request", { message: { subject, ...content } }];
    case "append":
      return ["Append", { queue: subject, message: content }];
    case "subscribe":
      return ["Subscribe", { subjects: [subject] }];
    case "consume":
      return ["Consume", { start: { queue: subject, credit: 1, auto_ack: true } }];
  }
}

function amqp({ verb, subject, payload, headers }: Draft, url: string): string | undefined {
  const to = `--url=${shell(url)}`;
  const type = headers.find(([name]) => name.toLowerCase() === "content-type")?.[1];
  const more = `${type === undefined ? "" : ` -C ${shell(type)}`}${headers
    .filter(([name]) => name.toLowerCase() !== "content-type")
    .map(([name, value]) => ` -H ${shell(`${name}: ${value}`)}`)
    .join("")} -b ${shell(payload)}`;
  switch (verb) {
    case "publish":
      return `amqp-publish ${to} -e amq.topic -r ${shell(subject)}${more}`;
    case "append":
      return `amqp-publish ${to} -r ${shell(subject)} -p${more}`;
    case "subscribe":
      return `amqp-consume ${to} -e amq.topic -r ${shell(subject.replaceAll(">", "#"))} cat`;
    case "consume":
      return `amqp-consume ${to} -q ${shell(subject)} -p 1 cat`;
    case "request":
      return undefined;
  }
}

function nats({ verb, subject, payload, headers }: Draft, url: string): string | undefined {
  const more = `${headers.map(([name, value]) => ` -H ${shell(`${name}:${value}`)}`).join("")} ${shell(subject)} ${shell(payload)}`;
  switch (verb) {
    case "publish":
      return `nats pub -s ${url}${more}`;
    case "request":
      return `nats request -s ${url}${more}`;
    case "subscribe":
      return `nats sub -s ${url} ${shell(subject)}`;
    default:
      return undefined; // queues are fed by what is bound to them
  }
}

function mosquitto({ verb, subject, payload }: Draft, at: Place): string | undefined {
  const to = `-h ${at.host} -p ${at.ports["mqtt"]}${at.user === "" ? "" : ` -u ${shell(at.user)} -P PASSWORD`}`;
  const topic = shell(subject.replaceAll(".", "/").replaceAll("*", "+").replaceAll(">", "#"));
  switch (verb) {
    case "publish":
      return `mosquitto_pub ${to} -q 1 -t ${topic} -m ${shell(payload)}`;
    case "subscribe":
      return `mosquitto_sub ${to} -v -t ${topic}`;
    default:
      return undefined; // MQTT 3.1.1 knows neither requests nor queues
  }
}

/** Frames for printf: what it would take for its own is escaped. */
function stomp({ verb, subject, payload, headers }: Draft, at: Place, address: string): string | undefined {
  const plain = (text: string) => text.replaceAll("\\", "\\\\\\\\").replaceAll("%", "%%").replaceAll("\n", "\\\\n").replaceAll(":", "\\\\c");
  const body = payload.replaceAll("\\", "\\\\").replaceAll("%", "%%").replaceAll("\n", "\\n");
  const login = at.user === "" ? "" : `login:${plain(at.user)}\\npasscode:PASSWORD\\n`;
  const hello = `CONNECT\\naccept-version:1.2\\nhost:/\\n${login}\\n\\0`;
  const more = headers.map(([name, value]) => `${plain(name)}:${plain(value)}\\n`).join("");
  const send = (to: string) => `printf ${shell(`${hello}SEND\\ndestination:${to}\\n${more}\\n${body}\\0DISCONNECT\\nreceipt:1\\n\\n\\0`)} | curl -s telnet://${address}`;
  const listen = (to: string, ack: string) =>
    `(printf ${shell(`${hello}SUBSCRIBE\\nid:1\\nack:${ack}\\ndestination:${to}\\n\\n\\0`)}; sleep 3600) | curl -sN telnet://${address}`;
  switch (verb) {
    case "publish":
      return send(`/topic/${plain(subject)}`);
    case "append":
      return send(`/amq/queue/${plain(subject)}`);
    case "subscribe":
      return listen(`/topic/${plain(subject.replaceAll(">", "#"))}`, "auto");
    case "consume":
      return listen(`/amq/queue/${plain(subject)}`, "auto");
    case "request":
      return undefined;
  }
}
