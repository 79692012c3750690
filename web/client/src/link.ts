// One WebSocket that comes back by itself, who one is on it, and what has to be opened on each anew.

import type { Codec, ConnectOptions, Status } from "../portico";
import { type CallOptions, Calls, longest } from "./calls";
import { lost, PorticoError, told } from "./errors";
import { Events, settled, whenAborted } from "./events";
import { type Frame, json, milliseconds } from "./frames";

/** Something open under a sid, on every connection anew. */
export interface Attached {
  sid: string;
  reopen(): void;
  receive(frame: Frame): void;
  /** The connection is gone. */
  detached(): void;
  end(error?: PorticoError): void;
}

const handshake = 10_000; // ms to the end of the login
const lasting = 10_000; // ms after which a connection counts as a good one

export class Link extends Events {
  status: Status = "connecting";
  user = "";
  client = "";
  epoch = 0; // counts connections
  readonly opened = settled<void>();
  readonly closed = settled<PorticoError | undefined>();

  #codec: Codec;
  #calls: Calls;
  #socket: any;
  #last = 0; // id of a call or of something open
  #attached = new Map<string, Attached>();
  #attempts = 0;
  #refused = 0; // logins in a row
  #since = 0; // when it opened
  #heard = 0; // when something came
  #retry: any; // timers
  #watch: any;
  #refresh: any;

  constructor(
    readonly url: string,
    readonly options: ConnectOptions,
  ) {
    super();
    this.#codec = options.codec ?? json;
    this.#calls = new Calls(this.#codec, options, (message) => this.#socket?.send(message));
    whenAborted(options.signal, () => this.end());
    const awake = () => this.status !== "closed" && this.#retry !== undefined && this.#dial();
    const page = (globalThis as any).document ?? new EventTarget(); // of which browsers slow down what is not seen
    for (const [target, event] of [[globalThis, "online"], [page, "visibilitychange"]] as const) {
      target.addEventListener?.(event, awake);
      void this.closed.promise.then(() => target.removeEventListener?.(event, awake));
    }
    if (this.status === "connecting") {
      this.#dial();
    }
  }

  /** A name that is not used by anything else. */
  name(): string {
    return (++this.#last).toString(36);
  }

  /** Sends a frame and waits for its answer. */
  call(frame: Frame, o: CallOptions = {}): Promise<Frame> {
    const open = this.status === "open";
    const refusal =
      this.status === "closed"
        ? new PorticoError("closed", "the connection is closed")
        : o.epoch !== undefined && (o.epoch !== this.epoch || !open)
          ? lost("it belongs to an earlier connection")
          : !open && !o.early && this.options.offline === "fail"
            ? new PorticoError("unavailable", "not connected")
            : undefined;
    return refusal ? Promise.reject(refusal) : this.#calls.start(this.name(), frame, o, open || o.early === true);
  }

  attach(a: Attached): void {
    if (this.status === "closed") {
      return a.end(new PorticoError("closed", "the connection is closed"));
    }
    this.rename(a, this.name());
    if (this.status === "open") {
      a.reopen();
    }
  }

  /** Gives what is attached another name. */
  rename(a: Attached, sid: string): void {
    this.#attached.delete(a.sid);
    a.sid = sid;
    this.#attached.set(sid, a);
  }

  detach(sid: string): void {
    this.#attached.delete(sid);
  }

  /** Closes for good. */
  end(error?: PorticoError): void {
    if (this.status === "closed") {
      return;
    }
    this.#drop();
    clearTimeout(this.#retry);
    const reason = error ?? new PorticoError("closed", "the connection was closed");
    this.#enter("closed", error);
    this.#calls.lost(reason, true);
    for (const a of [...this.#attached.values()]) {
      a.end(error);
    }
    this.opened.reject(reason);
    this.closed.resolve(error);
  }

  #enter(status: Status, error?: PorticoError, retryIn?: number): void {
    this.status = status;
    this.tell("status", { status, error, retryIn });
  }

  #dial(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#drop();
    const Socket = this.options.WebSocket ?? (globalThis as any).WebSocket;
    try {
      if (!Socket) {
        throw new Error("there is no WebSocket here; give one as an option");
      }
      this.#socket = new Socket(this.url, [this.#codec.protocol]);
    } catch (thrown) {
      return this.end(new PorticoError("invalid-argument", (thrown as Error).message));
    }
    const socket = this.#socket;
    socket.binaryType = "arraybuffer";
    socket.onerror = () => {}; // its end follows
    socket.onmessage = (e: any) => socket === this.#socket && this.#receive(e.data);
    socket.onclose = (e: any) => socket === this.#socket && this.#lost(e.code, e.reason);
    this.#watch = setTimeout(() => this.#lost(0, "the gateway did not welcome in time"), handshake);
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#calls.drop();
    clearTimeout(this.#watch);
    clearTimeout(this.#refresh);
    socket?.close();
  }

  #receive(message: string | ArrayBuffer): void {
    this.#heard = Date.now();
    let frames: any;
    try {
      frames = this.#codec.decode(message);
    } catch {
      return this.#lost(0, "the gateway sent what cannot be read");
    }
    for (const f of Array.isArray(frames) ? frames : [frames]) {
      this.#handle(f);
    }
  }

  #handle(f: Frame): void {
    if (f.op === "welcome") {
      void this.#login(f);
    } else if (!this.#calls.answered(f)) {
      this.#attached.get(f.sid as string)?.receive(f);
      if (f.op === "err" && !f.id) {
        this.tell("error", told(f));
      }
    }
  }

  async #login(welcome: Frame): Promise<void> {
    const socket = this.#socket;
    this.#calls.limits = welcome["limits"] ?? {};
    this.client = welcome["client"] ?? "";
    this.user = welcome["user"] ?? "";
    try {
      let expires = welcome["expires"];
      const credentials = await this.#credentials();
      if (socket !== this.#socket) {
        return;
      }
      if (credentials) {
        const ok = await this.call({ op: "auth", ...credentials }, { early: true, timeout: handshake });
        this.user = ok["user"] ?? this.user;
        expires = ok["expires"] ?? expires;
      } else if (welcome["authenticated"] === false) {
        return this.end(new PorticoError("unauthenticated", "the gateway wants a login"));
      }
      this.#open(milliseconds(welcome["ping_interval"]) || 25_000);
      this.#refreshBefore(expires);
    } catch (error) {
      if (socket === this.#socket) {
        this.#lost((error as PorticoError).code === "unauthenticated" ? 4401 : 0, (error as Error).message);
      }
    }
  }

  async #credentials(): Promise<Record<string, string> | undefined> {
    const { user, password = "", token } = this.options;
    return token !== undefined ? { token: typeof token === "function" ? await token() : token } : user !== undefined ? { user, password } : undefined;
  }

  #open(interval: number): void {
    clearTimeout(this.#watch);
    this.#since = Date.now();
    this.#refused = 0;
    this.epoch++;
    this.#enter("open");
    this.opened.resolve();
    this.#pulse(interval);
    for (const a of [...this.#attached.values()]) {
      a.reopen();
    }
    this.#calls.send();
  }

  /** Browsers cannot see pings: a connection that is silent for an interval is asked, and dropped if it stays silent. */
  #pulse(interval: number): void {
    const socket = this.#socket;
    this.#watch = setTimeout(() => {
      const again = () => socket === this.#socket && this.#pulse(interval);
      if (Date.now() - this.#heard < interval) {
        return void again();
      }
      this.call({ op: "ping" }, { timeout: handshake, early: true }).then(again, () => socket === this.#socket && this.#lost(0, "no sign of life"));
    }, interval);
  }

  /** Shows a new token when four fifths of the old one's time are over. */
  #refreshBefore(expires: unknown): void {
    const left = Date.parse(String(expires)) - Date.now();
    if (!(left > 0) || this.options.token === undefined) {
      return;
    }
    const socket = this.#socket;
    this.#refresh = setTimeout(async () => {
      try {
        const credentials = await this.#credentials();
        if (socket === this.#socket) {
          this.#refreshBefore((await this.call({ op: "auth", ...credentials }))["expires"]);
        }
      } catch (error) {
        if (socket === this.#socket) {
          this.tell("error", error);
          this.#refreshBefore(expires); // as long as there is time
        }
      }
    }, Math.min(Math.max(left * 0.8, 1000), longest));
  }

  #lost(code: number, reason: string): void {
    const error = code === 4401 ? new PorticoError("unauthenticated", reason) : lost([code || "", reason].join(" ").trim() || undefined);
    const { min = 250, max = 15_000, retries = Infinity } = this.options.reconnect ?? {};
    const good = this.status === "open" && Date.now() - this.#since > lasting;
    this.#drop();
    this.#attempts = good ? 0 : this.#attempts;
    if (this.#attempts >= retries || (code === 4401 && (typeof this.options.token !== "function" || this.#refused++ > 0))) {
      return this.end(error);
    }
    const pause = Math.random() * Math.min(max, min * 2 ** Math.min(this.#attempts++, 30));
    this.#enter(this.epoch ? "reconnecting" : "connecting", error, pause);
    this.#calls.lost(error, false);
    for (const a of [...this.#attached.values()]) {
      a.detached();
    }
    if ((this.status as Status) !== "closed") {
      this.#retry = setTimeout(() => this.#dial(), pause);
    }
  }
}
