// What is open on the gateway under a sid, and loops over what comes for it.

import type { FeedOptions, Open, PorticoError as Failure } from "../portico";
import { PorticoError, told } from "./errors";
import { Events, settled, whenAborted } from "./events";
import type { Frame } from "./frames";
import type { Attached, Link } from "./link";

const pauseBeforeAnother = 500; // ms, up to twice that, before what the gateway could not open is tried again

/** Something that is opened on every connection anew, until it is stopped. */
export abstract class Opening extends Events implements Open, Attached {
  sid = "";
  protected over = false;
  #ready = settled<void>();
  #done = settled<Failure | undefined>();
  #before = false; // whether it has been open
  #timer: any;
  #deaf: () => void = () => {};

  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  get done(): Promise<Failure | undefined> {
    return this.#done.promise;
  }

  constructor(protected readonly link: Link) {
    super();
  }

  /** The frame that opens it now, without id and sid. */
  protected abstract frame(): Frame;
  abstract receive(frame: Frame): void;
  /** The gateway has opened it; again: not for the first time. */
  protected opened(_ok: Frame, _again: boolean): void {}
  /** Ends what waits here. */
  protected finish(_error?: Failure): void {}
  detached(): void {
    clearTimeout(this.#timer);
  }

  /** Attaches it to the connection, and opens it if that is open. To be called once the subclass is whole. */
  protected begin(signal: AbortSignal | undefined): void {
    this.#deaf = whenAborted(signal, () => void this.stop());
    if (!this.over) {
      this.link.attach(this);
    }
  }

  /** Opens it on the present connection, under a new name: what still comes for the old one is nobody's. */
  reopen(): void {
    const sid = this.link.name();
    this.link.rename(this, sid);
    clearTimeout(this.#timer);
    const sees = (ok: Frame) => {
      if (sid === this.sid && !this.over) {
        this.opened(ok, this.#before);
        this.#before = true;
        this.#ready.resolve();
      }
    };
    this.link.call({ ...this.frame(), sid }, { sees }).catch((error) => sid === this.sid && !this.over && this.#refused(error));
  }

  /** What passes is tried again; a broken connection comes back by itself. */
  #refused(error: PorticoError): void {
    if (error.code === "connection-lost") {
      return;
    }
    if (error.code === "unavailable" || (this.#before && (error.retryable || error.code === "resource-locked"))) {
      this.#timer = setTimeout(() => this.link.status === "open" && this.reopen(), pauseBeforeAnother * (1 + Math.random()));
      return;
    }
    this.end(error);
  }

  /** The gateway has ended it, for good or for a moment. */
  protected gone(f: Frame): void {
    this.#refused(told(f));
  }

  end(error?: Failure): void {
    if (this.over) {
      return;
    }
    this.over = true;
    this.#deaf();
    clearTimeout(this.#timer);
    this.link.detach(this.sid);
    this.finish(error);
    this.#ready.reject(error ?? new PorticoError("closed", "it was stopped"));
    this.#done.resolve(error);
  }

  async stop(): Promise<void> {
    if (!this.over) {
      this.end();
      await this.leave();
    }
  }

  /** Ends it on the gateway. On a broken connection that has happened already. */
  protected async leave(): Promise<void> {
    if (this.link.status === "open") {
      await this.link.call({ op: "unsub", sid: this.sid }, { epoch: this.link.epoch }).catch(() => {});
    }
  }
}

/** An Opening whose items a loop takes, in their order. */
export abstract class Feed<T> extends Opening implements AsyncIterable<T> {
  protected items: T[] = [];
  protected weight = 0; // bytes of items
  #waiting: { resolve: (r: IteratorResult<T>) => void; reject: (e: unknown) => void }[] = [];
  #error: Failure | undefined;
  #paused = false;
  protected readonly most: number;
  protected readonly mostBytes: number;

  constructor(link: Link, { buffer = 1024, bufferBytes = 1 << 24 }: FeedOptions = {}) {
    super(link);
    this.most = Math.max(1, buffer);
    this.mostBytes = bufferBytes;
  }

  protected abstract weigh(item: T): number;
  /** The loop is about to get an item. */
  protected taken(_item: T): void {}
  /** The loop asks for an item: what was paused goes on when half of the room is free again. */
  protected asked(): void {
    if (this.#paused && !this.over && this.items.length <= this.most / 2 && this.weight <= this.mostBytes / 2) {
      this.#paused = false;
      this.link.attach(this);
    }
  }

  protected get full(): boolean {
    return this.items.length >= this.most || this.weight >= this.mostBytes;
  }

  /** Closes it on the gateway until the loop has caught up. It is opened again behind the last item that was put. */
  protected pause(): void {
    this.#paused = true;
    this.link.detach(this.sid);
    void this.leave();
  }

  protected override async leave(): Promise<void> {
    if (!this.#paused || !this.over) {
      await super.leave();
    }
  }

  protected put(item: T): void {
    const waiting = this.#waiting.shift();
    if (waiting) {
      this.taken(item);
      waiting.resolve({ done: false, value: item });
      return;
    }
    this.items.push(item);
    this.weight += this.weigh(item);
  }

  protected first(): T | undefined {
    const item = this.items.shift();
    if (item !== undefined) {
      this.weight -= this.weigh(item);
    }
    return item;
  }

  protected forget(): void {
    this.items = [];
    this.weight = 0;
  }

  /** What came before an error is still given out; what was stopped is over at once. */
  protected override finish(error?: Failure): void {
    this.#error = error;
    if (!error) {
      this.forget();
    }
    for (const waiting of this.#waiting.splice(0)) {
      error ? waiting.reject(error) : waiting.resolve({ done: true, value: undefined });
    }
  }

  #next(): Promise<IteratorResult<T>> {
    this.asked();
    const item = this.first();
    if (item !== undefined) {
      this.taken(item);
      return Promise.resolve({ done: false, value: item });
    }
    if (this.over) {
      return this.#error ? Promise.reject(this.#error) : Promise.resolve({ done: true, value: undefined });
    }
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return {
      next: () => this.#next(),
      return: async () => {
        await this.stop();
        return { done: true, value: undefined };
      },
    };
  }
}
