import type { ConsumeOptions, Consumer, Delivery, PublishOptions, Queue, QueueOptions } from "../portico";
import { body, type Frame, term } from "./frames";
import type { Link } from "./link";
import { Delivered } from "./message";
import { Feed } from "./open";

const maxTags = 4096; // of one settlement

export class Consuming extends Feed<Delivery> implements Consumer {
  #hand: Delivered | undefined; // what the loop has now

  constructor(
    link: Link,
    private readonly queue: string,
    private readonly options: ConsumeOptions,
  ) {
    super(link);
    this.begin(options.signal);
  }

  protected frame(): Frame {
    const { credit, lease, exclusive, priority } = this.options;
    return { op: "consume", queue: this.queue, credit, lease: term(lease), exclusive, priority };
  }

  receive(f: Frame): void {
    if (f.op === "delivery") {
      this.put(new Delivered(this.link, f));
    } else if (f.op === "gone") {
      this.gone(f);
    }
  }

  /** What was held went back to the queue. */
  override detached(): void {
    super.detached();
    this.forget();
  }

  protected weigh(d: Delivery): number {
    return (d as Delivered).size;
  }

  protected override taken(d: Delivery): void {
    this.#hand = d as Delivered;
  }

  protected override asked(): void {
    if (this.options.autoAck && this.#hand && !this.#hand.settled) {
      this.#hand.ack().catch((error) => this.link.tell("error", error));
    }
    this.#hand = undefined;
  }

  /** Ends the deliveries, and gives back those that nobody was given, those included that are on their way. */
  override async stop(): Promise<void> {
    if (this.over) {
      return;
    }
    const { link, sid } = this;
    const epoch = link.epoch;
    const back = this.items as Delivered[];
    if (this.options.autoAck && this.#hand && !this.#hand.settled) {
      back.unshift(this.#hand);
    }
    const tags = back.map((d) => d.tag);
    this.end();
    const nobody = () => {};
    const rest = { sid, reopen: nobody, detached: nobody, end: nobody, receive: (f: Frame) => f.op === "delivery" && tags.push(f["tag"]) };
    link.rename(rest, sid);
    await link.call({ op: "cancel", sid }, { epoch }).catch(nobody);
    link.detach(sid);
    for (let i = 0; i < tags.length; i += maxTags) {
      await link.call({ op: "nack", tags: tags.slice(i, i + maxTags), requeue: true }, { epoch }).catch(nobody);
    }
  }
}

const snake = (name: string) => name.replace(/[A-Z]/g, (c) => "_" + c.toLowerCase());

export class Named implements Queue {
  constructor(
    private readonly link: Link,
    readonly name: string,
  ) {}

  #call(op: string, more: object = {}, options: object = { again: true }): Promise<Frame> {
    return this.link.call({ op, queue: this.name, ...more }, options);
  }

  async declare(options: QueueOptions = {}): Promise<boolean> {
    return (await this.#call("declare", Object.fromEntries(Object.entries(options).map(([k, v]) => [snake(k), v]))))["created"];
  }

  async bind(subject: string): Promise<void> {
    await this.#call("bind", { subject });
  }

  async unbind(subject: string): Promise<void> {
    await this.#call("unbind", { subject });
  }

  async append(data?: unknown, o: PublishOptions = {}): Promise<void> {
    await this.#call("append", { ...body(data, o.headers), reply: o.reply, msg_id: o.id }, { ...o, again: o.id !== undefined });
  }

  consume(options: ConsumeOptions = {}): Consumer {
    return new Consuming(this.link, this.name, options);
  }

  async purge(): Promise<number> {
    return (await this.#call("purge", {}, {}))["ready"];
  }

  async delete(): Promise<number> {
    return (await this.#call("delete", {}, {}))["ready"];
  }
}
