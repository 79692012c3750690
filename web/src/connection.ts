// One WebSocket to the gateway that comes back by itself, and answers matched to what was asked.

import { type Frame, subprotocol, textField } from "./frames";

/** refused: the gateway wants to know who this is. waiting: it will be tried again in a moment. */
export type State = "connecting" | "open" | "waiting" | "refused";

export interface Login {
  user: string;
  password: string;
}

/** An err frame, or a connection that went before the answer came. */
export class Failure extends Error {
  constructor(
    readonly code: string,
    detail: string,
  ) {
    super(detail === "" ? code : `${code}: ${detail}`);
  }
}

interface Waiting {
  resolve: (frame: Frame) => void;
  reject: (failure: Failure) => void;
  timer: number;
}

const maxWaiting = 1000; // calls without an answer; more are refused
const unauthenticated = 4401;
const firstPause = 250; // ms; doubles up to lastPause while connections do not last
const lastPause = 15_000;
const lasting = 10_000; // ms
const pingInterval = 20_000; // ms

export class Connection {
  #socket: WebSocket | undefined;
  #state: State = "connecting";
  #waiting = new Map<string, Waiting>();
  #lastId = 0;
  #pause = firstPause;
  #timer = 0; // of the next attempt
  #opened = 0; // when, on the clock of performance.now
  #login: Login | undefined;

  constructor(
    private readonly url: string,
    private readonly changed: (state: State, reason: string) => void,
    private readonly received: (frame: Frame) => void,
  ) {
    window.addEventListener("online", () => this.#state === "waiting" && this.open());
    window.setInterval(() => this.#ping(), pingInterval);
  }

  get state(): State {
    return this.#state;
  }

  /** Connects now, as this user if one is given. */
  open(login?: Login): void {
    this.#login = login ?? this.#login;
    window.clearTimeout(this.#timer);
    this.#drop();
    const socket = new WebSocket(this.url, subprotocol);
    this.#socket = socket;
    this.#enter("connecting", "");
    socket.onmessage = (event: MessageEvent<unknown>) => this.#receive(event.data);
    socket.onclose = (event) => this.#closed(event);
  }

  /** Sends a frame and waits for its answer (ok, res), at most timeout milliseconds. */
  call(frame: Frame, timeout = 10_000): Promise<Frame> {
    if (this.#state !== "open") {
      return Promise.reject(new Failure("unavailable", "not connected"));
    }
    return this.#ask(frame, timeout);
  }

  #ask(frame: Frame, timeout: number): Promise<Frame> {
    if (this.#waiting.size >= maxWaiting) {
      return Promise.reject(new Failure("resource-exhausted", "too many calls without an answer"));
    }
    const id = String(++this.#lastId);
    return new Promise((resolve, reject) => {
      const timer = window.setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Failure("timeout", "no answer came"));
      }, timeout);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#send({ ...frame, id });
    });
  }

  #send(frame: Frame): void {
    this.#socket?.send(JSON.stringify(frame));
  }

  #receive(data: unknown): void {
    const frame = parse(data);
    if (frame === undefined) {
      return;
    }
    if (frame.op === "welcome") {
      this.#welcome(frame["authenticated"] === true);
      return;
    }
    const waiting = frame.id === undefined ? undefined : this.#waiting.get(frame.id);
    if (frame.id === undefined || waiting === undefined) {
      this.received(frame);
      return;
    }
    this.#waiting.delete(frame.id);
    window.clearTimeout(waiting.timer);
    if (frame.op === "err") {
      waiting.reject(new Failure(textField(frame, "code"), textField(frame, "detail")));
    } else {
      waiting.resolve(frame);
    }
  }

  #welcome(known: boolean): void {
    if (this.#login !== undefined) {
      this.#ask({ op: "auth", ...this.#login }, 10_000).then(
        () => this.#isOpen(),
        (failure: Failure) => this.#refused(failure.message),
      );
    } else if (known) {
      this.#isOpen();
    } else {
      this.#refused("");
    }
  }

  #isOpen(): void {
    this.#opened = performance.now();
    this.#enter("open", "");
  }

  #refused(reason: string): void {
    this.#login = undefined;
    this.#drop();
    this.#enter("refused", reason);
  }

  /** Finds out about a connection that died without a word. */
  #ping(): void {
    const socket = this.#socket;
    if (this.#state === "open") {
      this.call({ op: "ping" }).catch(() => this.#socket === socket && this.open());
    }
  }

  #closed(event: CloseEvent): void {
    if (event.code === unauthenticated) {
      this.#refused(event.reason);
      return;
    }
    this.#drop();
    if (this.#state === "open" && performance.now() - this.#opened > lasting) {
      this.#pause = firstPause;
    }
    const pause = this.#pause * (0.5 + Math.random() / 2);
    this.#pause = Math.min(this.#pause * 2, lastPause);
    this.#timer = window.setTimeout(() => this.open(), pause);
    this.#enter("waiting", event.reason);
  }

  /** Forgets the socket and tells everybody who waits. */
  #drop(): void {
    if (this.#socket !== undefined) {
      this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
      this.#socket.close();
      this.#socket = undefined;
    }
    for (const waiting of this.#waiting.values()) {
      window.clearTimeout(waiting.timer);
      waiting.reject(new Failure("unavailable", "the connection was lost; whether it was done is not known"));
    }
    this.#waiting.clear();
  }

  #enter(state: State, reason: string): void {
    this.#state = state;
    this.changed(state, reason);
  }
}

function parse(data: unknown): Frame | undefined {
  if (typeof data !== "string") {
    return undefined;
  }
  const frame: unknown = JSON.parse(data);
  return typeof frame === "object" && frame !== null && "op" in frame ? (frame as Frame) : undefined;
}
