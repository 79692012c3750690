import type * as api from "../portico";
import { PorticoError } from "./errors";
import { Consuming, Named } from "./consume";
import { body, type Frame, term } from "./frames";
import { Attending, Bucket } from "./kv";
import { Link } from "./link";
import { Incoming } from "./message";
import { begin, Serving, Subscribed } from "./subscribe";

export { PorticoError };

export const connect: typeof api.connect = (url, options = {}) => new Conn(url, options);

class Conn implements api.Connection {
  #link: Link;

  constructor(url: string | URL, options: api.ConnectOptions) {
    const at = new URL(url, (globalThis as any).location?.href);
    at.protocol = at.protocol.replace("http", "ws");
    at.searchParams.set("batch", "true");
    this.#link = new Link(at.href, options);
  }

  get status(): api.Status {
    return this.#link.status;
  }

  get user(): string {
    return this.#link.user;
  }

  get client(): string {
    return this.#link.client;
  }

  get opened(): Promise<void> {
    return this.#link.opened.promise;
  }

  get closed(): Promise<api.PorticoError | undefined> {
    return this.#link.closed.promise;
  }

  on(event: string, listener: (event: any) => void): () => void {
    return this.#link.on(event, listener);
  }

  async publish(subject: string, data?: api.Payload, o: api.PublishOptions = {}): Promise<api.Published> {
    const frame = { op: "pub", subject, reply: o.reply, msg_id: o.id, ...body(data, o.headers) };
    const { queues = 0, live = false, duplicate = false, stream, seq } = await this.#link.call(frame, { ...o, again: o.id !== undefined });
    return { queues, live, duplicate, ...(stream && { stream, seq }) };
  }

  async request(subject: string, data?: api.Payload, o: api.RequestOptions = {}): Promise<api.Message> {
    const timeout = o.timeout ?? 5000;
    const frame = { op: "req", subject, timeout: term(timeout), ...body(data, o.headers) };
    return new Incoming(this.#link, await this.#link.call(frame, { ...o, timeout: timeout + 1000 })); // the gateway is the first to say that time is over
  }

  serve(subject: string, handler: (request: api.Message) => api.Payload, options: api.ServeOptions = {}): api.Service {
    return new Serving(this.#link, subject, handler, options);
  }

  subscribe(subject: string, options: api.SubscribeOptions = {}): api.Subscription {
    return new Subscribed(this.#link, subject, options);
  }

  async history(o: api.HistoryOptions): Promise<api.History> {
    const messages: api.Message[] = [];
    const frame = { op: "history", stream: o.stream, subject: o.subject, last: o.last, from: begin(o.from), limit: o.limit, reverse: o.backward };
    const { stream, epoch, next, more } = await this.#link.call(frame, { ...o, sees: (f: Frame) => f.op === "msg" && messages.push(new Incoming(this.#link, f)) });
    return { stream: stream!, epoch, messages, next, more };
  }

  async forgetCursor(stream: string, cursor: string): Promise<void> {
    await this.#link.call({ op: "forget", stream, cursor }, { again: true });
  }

  consume(queue: string, options: api.ConsumeOptions = {}): api.Consumer {
    return new Consuming(this.#link, queue, options);
  }

  queue(name: string): api.Queue {
    return new Named(this.#link, name);
  }

  kv(bucket: string): api.KV {
    return new Bucket(this.#link, bucket);
  }

  async presence(subject: string): Promise<{ count: number; members: api.Member[] }> {
    const { count, members } = await this.#link.call({ op: "presence", subject }, { again: true });
    return { count, members };
  }

  watchPresence(subject: string, options: api.FeedOptions = {}): api.Watch<api.PresenceEvent> {
    return new Attending(this.#link, subject, options);
  }

  async ping(): Promise<number> {
    const began = performance.now();
    await this.#link.call({ op: "ping" });
    return performance.now() - began;
  }

  async close(): Promise<void> {
    this.#link.end();
  }
}
