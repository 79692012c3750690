import type { Entry, FeedOptions, KV, Member, Payload, PresenceEvent, Watch } from "../portico";
import { PorticoError } from "./errors";
import { settled } from "./events";
import { body, type Frame } from "./frames";
import type { Link } from "./link";
import { Value } from "./message";
import { Feed } from "./open";

export class Bucket implements KV {
  constructor(
    private readonly link: Link,
    readonly bucket: string,
  ) {}

  #call(op: string, more: object, sees?: (f: Frame) => void): Promise<Frame> {
    const again = !/put|create|update|delete|purge/.test(op);
    return this.link.call({ op: "kv_" + op, bucket: this.bucket, ...more }, { again, ...(sees && { sees }) });
  }

  async get(key: string, revision?: number): Promise<Entry | undefined> {
    try {
      return new Value(this.bucket, await this.#call("get", { key, revision }));
    } catch (error) {
      const { code, message } = error as PorticoError;
      if (code !== "not-found" || message.includes(" no bucket ")) {
        throw error; // no key has a blank in it
      }
      return undefined;
    }
  }

  async #set(op: string, key: string, value: Payload, revision?: number): Promise<number> {
    return (await this.#call(op, { key, revision, data: body(value, {}).data }))["revision"];
  }

  put(key: string, value: Payload): Promise<number> {
    return this.#set("put", key, value);
  }

  create(key: string, value: Payload): Promise<number> {
    return this.#set("create", key, value);
  }

  update(key: string, value: Payload, revision: number): Promise<number> {
    return this.#set("update", key, value, revision);
  }

  async delete(key: string, revision?: number): Promise<void> {
    await this.#call("delete", { key, revision });
  }

  async purge(key: string): Promise<void> {
    await this.#call("purge", { key });
  }

  async *keys(pattern = ">"): AsyncGenerator<string> {
    for (let after: string | undefined, more = true; more; ) {
      const page: Frame = await this.#call("keys", { pattern, after });
      yield* page["keys"];
      after = page["keys"].at(-1);
      more = page["more"] && after !== undefined;
    }
  }

  async history(key: string): Promise<Entry[]> {
    const all: Entry[] = [];
    await this.#call("history", { key }, (f) => f.op === "entry" && all.push(new Value(this.bucket, f)));
    return all;
  }

  watch(pattern = ">", options: FeedOptions = {}): Watch<Entry> {
    return new Watching(this.link, this.bucket, pattern, options);
  }
}

class Watching extends Feed<Entry> implements Watch<Entry> {
  #current = settled<void>();
  #after: number | undefined;

  constructor(
    link: Link,
    private readonly bucket: string,
    private readonly pattern: string,
    options: FeedOptions,
  ) {
    super(link, options);
    this.begin(options.signal);
  }

  get current(): Promise<void> {
    return this.#current.promise;
  }

  protected frame(): Frame {
    return { op: "kv_watch", bucket: this.bucket, pattern: this.pattern, after: this.#after };
  }

  receive(f: Frame): void {
    if (f.op === "ready") {
      this.#current.resolve();
    } else if (f.op === "gone" && f["code"] === "precondition-failed") {
      this.#after = undefined; // the bucket was made anew
      this.reopen();
    } else if (f.op === "gone") {
      this.gone(f);
    } else if (f.op === "entry") {
      if (this.full) {
        return this.pause();
      }
      this.#after = f["revision"];
      this.put(new Value(this.bucket, f));
    }
  }

  protected weigh(e: Entry): number {
    return (e as Value).size;
  }
}

export class Attending extends Feed<PresenceEvent> implements Watch<PresenceEvent> {
  #current = settled<void>();
  #there = new Map<string, Member>();

  constructor(
    link: Link,
    private readonly subject: string,
    options: FeedOptions,
  ) {
    super(link, options);
    this.begin(options.signal);
  }

  get current(): Promise<void> {
    return this.#current.promise;
  }

  protected frame(): Frame {
    return { op: "presence", subject: this.subject, watch: true };
  }

  /** Those who came and went while there was no connection are told now. A list that was cut does not say who went. */
  protected override opened(ok: Frame): void {
    const members: Member[] = ok["members"];
    const now = new Set(members.map((m) => m.client));
    for (const m of members) {
      this.#tell("join", m);
    }
    for (const m of ok["count"] > members.length ? [] : [...this.#there.values()]) {
      if (!now.has(m.client)) {
        this.#tell("leave", m);
      }
    }
    this.#current.resolve();
  }

  receive(f: Frame): void {
    if (f.op === "join" || f.op === "leave") {
      this.#tell(f.op, f["member"]);
    } else if (f.op === "gone") {
      this.gone(f);
    }
  }

  #tell(action: "join" | "leave", m: Member): void {
    if (this.#there.has(m.client) === (action === "join")) {
      return; // known
    }
    action === "join" ? this.#there.set(m.client, m) : this.#there.delete(m.client);
    if (this.full) {
      void this.leave();
      return this.end(new PorticoError("resource-exhausted", "the loop does not keep up"));
    }
    this.put({ action, ...m });
  }

  protected weigh(): number {
    return 0;
  }
}
