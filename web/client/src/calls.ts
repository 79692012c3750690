// Frames that want an answer: how many there may be, how they travel, and what becomes of them when the connection breaks.

import type { Codec, ConnectOptions } from "../portico";
import { PorticoError, told } from "./errors";
import { whenAborted } from "./events";
import type { Frame, Wire } from "./frames";

/** How a frame is sent, and its answer waited for. */
export interface CallOptions {
  timeout?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Sent again on the next connection if this one breaks before the answer. */
  again?: boolean;
  /** Sent before other calls may go: while logging in, and to see whether anybody is there. */
  early?: boolean;
  /** Only on this connection. */
  epoch?: number;
  /** Is shown the frames with the call's id as they come, the answer too: before any frame behind them is looked at. */
  sees?: (frame: Frame) => void;
}

interface Call extends CallOptions {
  wire: Wire;
  sent: boolean;
  finish(error: unknown, frame?: Frame): void;
}

const batchSize = 65_536; // bytes of frames that travel together
export const longest = 2 ** 31 - 1; // ms that a timer can take

export class Calls {
  limits: Record<string, number> = {}; // of the gateway, as far as they are known
  #all = new Map<string, Call>();
  #bytes = 0; // of all
  #out: Wire[] = []; // goes at the end of this turn

  constructor(
    private readonly codec: Codec,
    private readonly options: ConnectOptions,
    private readonly write: (message: Wire) => void,
  ) {}

  /** Makes a call, which goes at once if now is set, or waits for send. */
  start(id: string, frame: Frame, o: CallOptions, now: boolean): Promise<Frame> {
    return new Promise((resolve, reject) => {
      const wire = this.codec.encode({ ...frame, id });
      const refusal = o.signal?.aborted ? o.signal.reason : o.early ? undefined : this.#refusal(wire);
      if (refusal) {
        return reject(refusal);
      }
      const call: Call = {
        ...o,
        wire,
        sent: false,
        finish: (error, answer) => {
          clearTimeout(timer);
          deaf();
          if (this.#all.delete(id)) {
            this.#bytes -= wire.length;
          }
          error ? reject(error) : resolve(answer!);
        },
      };
      const timer = setTimeout(() => call.finish(new PorticoError("timeout", "no answer came")), Math.min(o.timeout ?? this.options.timeout ?? 30_000, longest));
      const deaf = whenAborted(o.signal, () => call.finish(o.signal!.reason));
      this.#bytes += wire.length;
      this.#all.set(id, call);
      if (now) {
        this.#send(call);
      }
    });
  }

  #refusal(wire: Wire): PorticoError | undefined {
    const { maxPending = 4096, maxPendingBytes = 1 << 25 } = this.options;
    if (this.#all.size >= maxPending || (this.#bytes > 0 && this.#bytes + wire.length > maxPendingBytes)) {
      return new PorticoError("resource-exhausted", "too many calls wait for their answers");
    }
    return this.#fits(wire) ? undefined : tooLarge();
  }

  #fits(wire: Wire): boolean {
    const most = this.limits["frame"] ?? Infinity;
    return wire.length <= most && (typeof wire !== "string" || wire.length * 3 <= most || new TextEncoder().encode(wire).length <= most);
  }

  #send(call: Call): void {
    if (!this.#fits(call.wire)) {
      return call.finish(tooLarge());
    }
    call.sent = true;
    if (this.#out.push(call.wire) === 1) {
      queueMicrotask(() => this.#flush());
    }
  }

  /** Sends what was gathered in this turn, in as few messages as the gateway takes. */
  #flush(): void {
    const most = this.codec.join ? (this.limits["batch"] ?? 1) : 1;
    for (let i = 0, from = 0, size = 0; i < this.#out.length; i++) {
      size += this.#out[i]!.length;
      if (i + 1 === this.#out.length || i + 1 - from === most || size + this.#out[i + 1]!.length > batchSize) {
        this.write(i === from ? this.#out[i]! : this.codec.join!(this.#out.slice(from, i + 1)));
        from = i + 1;
        size = 0;
      }
    }
    this.#out = [];
  }

  /** Sends those that wait for a connection, in their order. */
  send(): void {
    for (const call of [...this.#all.values()]) {
      if (!call.sent) {
        this.#send(call);
      }
    }
  }

  /** Gives a frame to the call that it answers; tells whether there is one. */
  answered(f: Frame): boolean {
    const call = this.#all.get(f.id as string);
    if (f.op === "err") {
      call?.finish(told(f));
    } else {
      call?.sees?.(f);
      if (f.op === "ok" || f.op === "res" || f.op === "pong") {
        call?.finish(undefined, f);
      }
    }
    return call !== undefined;
  }

  /** Forgets what has not left yet: the connection is given up. */
  drop(): void {
    this.#out = [];
  }

  /** The connection broke: what is on its way fails, unless it may be sent again. all: nothing will ever be sent again. */
  lost(error: PorticoError, all: boolean): void {
    for (const call of [...this.#all.values()]) {
      if (all || (call.sent && !call.again)) {
        call.finish(error);
      }
      call.sent = false;
    }
  }
}

const tooLarge = () => new PorticoError("too-large", "the message is above the gateway's limit");
