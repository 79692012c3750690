import type { Gap, Payload, Message, ServeOptions, Service, SubscribeOptions, Subscription } from "../portico";
import { PorticoError } from "./errors";
import type { Frame } from "./frames";
import type { Link } from "./link";
import { Incoming } from "./message";
import { Feed, Opening } from "./open";

const mostWaiting = 8192; // messages of a subscription that the gateway lets wait

/** from as frames have it. */
export const begin = (from: SubscribeOptions["from"]) =>
  typeof from === "object" && "time" in from ? { time: new Date(from.time).toISOString() } : from;

export class Subscribed extends Feed<Message> implements Subscription {
  seq = 0;
  #at: number | undefined; // the last number that came, or was told to be gone
  #stream: string | undefined; // which making of the stream that is
  #dropped = 0;
  #epoch = 0; // the connection it was last open on

  constructor(
    link: Link,
    readonly subject: string,
    private readonly options: SubscribeOptions,
  ) {
    super(link, options);
    this.#at = options.after;
    this.#stream = options.epoch;
    this.begin(options.signal);
  }

  get epoch(): string | undefined {
    return this.#stream;
  }

  protected frame(): Frame {
    const { group, filter, stream, cursor, from, join, overflow = "drop-oldest" } = this.options;
    const joins = join ? { presence: true, info: join === true ? undefined : join } : {};
    const at = this.#at === undefined ? { from: stream && begin(from) } : { after: this.#at, epoch: this.#stream };
    const slow = stream === undefined && { slow: overflow, buffer: Math.min(this.most, mostWaiting) }; // the same at the gateway, where more may wait
    return { op: "sub", subject: this.subject || undefined, group, filter, stream, cursor, ...slow, ...joins, ...at };
  }

  protected override opened(ok: Frame, again: boolean): void {
    const anew = this.#epoch !== this.link.epoch;
    this.#epoch = this.link.epoch;
    if (this.options.stream === undefined) {
      if (again) {
        this.#tell({ reason: "reconnect" });
        this.tell("resumed", { recovered: false });
      }
      return;
    }
    this.#stream = ok["epoch"];
    this.#at = ok["after"];
    const gap: Gap | undefined = (ok["gap"] || ok["reset"]) && { reason: ok["reset"] ? "reset" : "recovery", ...ok["gap"] };
    if (gap) {
      this.#tell(gap);
    }
    if (anew && ok["recovered"] !== undefined) {
      this.tell("resumed", { recovered: ok["recovered"], ...(gap && { gap }) });
    }
  }

  receive(f: Frame): void {
    if (f.op === "msg") {
      this.#message(f);
    } else if (f.op === "gap") {
      this.#at = f["to"];
      this.#tell({ reason: "recovery", from: f["from"], to: f["to"] });
    } else if (f.op === "dropped") {
      this.#tell({ reason: "buffer", dropped: f["count"] });
    } else if (f.op === "place") {
      this.#at = f["seq"];
    } else if (f.op === "gone") {
      this.gone(f);
    }
  }

  #message(f: Frame): void {
    if (this.full && this.options.stream !== undefined) {
      return this.pause();
    }
    if (this.full && this.options.overflow === "close") {
      void this.leave();
      return this.end(new PorticoError("resource-exhausted", "the loop does not keep up"));
    }
    this.#at = f["seq"];
    if (!this.full || this.options.overflow !== "drop-newest") {
      if (this.full) {
        this.first();
        this.#drop();
      }
      return this.put(new Incoming(this.link, f));
    }
    this.#drop();
  }

  #drop(): void {
    if (this.#dropped++ === 0) {
      queueMicrotask(() => {
        const dropped = this.#dropped;
        this.#dropped = 0;
        this.#tell({ reason: "buffer", dropped });
      });
    }
  }

  #tell(gap: Gap): void {
    this.tell("gap", gap);
  }

  protected weigh(m: Message): number {
    return (m as Incoming).size;
  }

  protected override taken(m: Message): void {
    this.seq = m.seq ?? 0;
  }

  async commit(seq = this.seq): Promise<void> {
    await this.link.call({ op: "commit", sid: this.sid, seq });
  }
}

export class Serving extends Opening implements Service {
  #waiting: Incoming[] = [];
  #busy = 0;

  constructor(
    link: Link,
    readonly subject: string,
    private readonly handler: (request: Message) => Payload,
    private readonly options: ServeOptions,
  ) {
    super(link);
    this.begin(options.signal);
  }

  protected frame(): Frame {
    return { op: "serve", subject: this.subject, group: this.options.group };
  }

  receive(f: Frame): void {
    if (f.op === "gone") {
      return this.gone(f);
    }
    const m = new Incoming(this.link, f);
    if (this.#busy < (this.options.concurrency ?? 64)) {
      void this.#handle(m);
    } else if (this.#waiting.length < (this.options.buffer ?? 1024)) {
      this.#waiting.push(m);
    } else {
      this.#answer(m, undefined, "resource-exhausted: too many requests wait");
    }
  }

  async #handle(m: Incoming): Promise<void> {
    this.#busy++;
    try {
      this.#answer(m, await this.handler(m));
    } catch (error) {
      this.link.tell("error", error);
      this.#answer(m, undefined, error instanceof Error ? error.message : String(error));
    }
    this.#busy--;
    const next = this.#waiting.shift();
    if (next) {
      void this.#handle(next);
    }
  }

  #answer(m: Incoming, data: Payload, error?: string): void {
    const headers = error === undefined ? {} : { headers: { Error: error.replace(/[^\x20-\x7e]+/g, " ").slice(0, 1000) } };
    m.respond(data, headers).catch((failure) => this.link.tell("error", failure));
  }
}
