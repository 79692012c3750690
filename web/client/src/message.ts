import type { Delivery, Entry, Headers, Message, Payload } from "../portico";
import { lost, PorticoError } from "./errors";
import { body, bytesOf, type Frame, term, textOf } from "./frames";
import type { Link } from "./link";

/** What has a payload. It is decoded when it is asked for. */
class Content {
  constructor(protected readonly frame: Frame) {}

  get bytes(): Uint8Array {
    return bytesOf(this.frame["data"]);
  }

  text(): string {
    return textOf(this.frame["data"]);
  }

  json<T = any>(): T {
    return JSON.parse(this.text());
  }

  get time(): any {
    return this.frame["time"];
  }
}

/** Bytes that a frame's payload takes, about. */
export const weightOf = (f: Frame): number => f["data"]?.length ?? 0;

export class Incoming extends Content implements Message {
  constructor(
    protected readonly link: Link,
    frame: Frame,
  ) {
    super(frame);
  }

  get subject(): string {
    return this.frame["subject"] ?? "";
  }

  get reply(): string {
    return this.frame["reply"] ?? "";
  }

  get headers(): Headers {
    return this.frame["headers"] ?? {};
  }

  get stream(): any {
    return this.frame["stream"];
  }

  get seq(): any {
    return this.frame["seq"];
  }

  get size(): number {
    return weightOf(this.frame);
  }

  header(name: string): string | undefined {
    const found = Object.entries(this.headers).find(([n]) => n.toLowerCase() === name.toLowerCase())?.[1];
    return Array.isArray(found) ? found[0] : found;
  }

  async respond(data?: Payload, options: { headers?: Headers } = {}): Promise<void> {
    if (!this.reply) {
      throw new PorticoError("invalid-argument", "no answer is expected");
    }
    await this.link.call({ op: "reply", reply: this.reply, ...body(data, options.headers) });
  }
}

export class Delivered extends Incoming implements Delivery {
  #epoch: number;
  settled = false;

  constructor(link: Link, frame: Frame) {
    super(link, frame);
    this.#epoch = link.epoch;
  }

  get tag(): number {
    return this.frame["tag"];
  }

  get attempt(): number {
    return this.frame["attempt"];
  }

  get redelivered(): boolean {
    return this.frame["redelivered"];
  }

  ack(): Promise<void> {
    return this.#settle({ op: "ack" });
  }

  nack(): Promise<void> {
    return this.#settle({ op: "nack", requeue: true });
  }

  deadLetter(): Promise<void> {
    return this.#settle({ op: "nack", requeue: false });
  }

  async extend(lease: number): Promise<void> {
    await this.link.call({ op: "extend", tag: this.tag, lease: term(lease) }, { epoch: this.#epoch });
  }

  async #settle(frame: Frame): Promise<void> {
    if (this.#epoch !== this.link.epoch) {
      throw lost("the delivery went back to its queue with an earlier connection");
    }
    this.settled = true;
    await this.link.call({ ...frame, tag: this.tag }, { epoch: this.#epoch });
  }
}

export class Value extends Content implements Entry {
  constructor(
    readonly bucket: string,
    frame: Frame,
  ) {
    super(frame);
  }

  get key(): string {
    return this.frame["key"];
  }

  get revision(): number {
    return this.frame["revision"];
  }

  get operation(): "put" | "delete" | "purge" {
    return this.frame["operation"] ?? "put";
  }

  get size(): number {
    return weightOf(this.frame);
  }
}
