/** What a payload is given as. Text and bytes travel as they are, `undefined` is an empty payload; anything else travels as JSON, with the header `Content-Type: application/json` unless another is given. */
export type Payload = unknown;

/** Headers by name. A value is one line, or a list of lines. */
export type Headers = Record<string, string | string[]>;

/** Why something failed. Codes of the gateway (`permission-denied`, `not-found`, `no-responders`, …) come as they are; the library adds `connection-lost` and `closed`. */
export declare class PorticoError extends Error {
  constructor(code: string, detail?: string);
  /** One word to decide by. */
  readonly code: string;
  /** Whether the same call may do better later: the gateway was unavailable, busy or out of reach. */
  readonly retryable: boolean;
  /** The present revision of a key that was not as `create`, `update` or `delete` expected; 0: it has no value. */
  readonly revision?: number;
}

/**
 * Opens a connection to a gateway's WebSocket address and keeps it: a connection that breaks is made again, and everything that was open is opened again.
 * Returns at once. Calls made before the connection is open wait for it, up to a bound.
 */
export declare function connect(url: string | URL, options?: ConnectOptions): Connection;

/** Who one is, how a connection is made and what it may hold. */
export interface ConnectOptions {
  /** A user's name; goes with `password`. */
  user?: string;
  /** The user's password. */
  password?: string;
  /** A token, or what gets one. It is asked for at each connection, again before a token expires, and once more when one is refused. */
  token?: string | (() => string | Promise<string>);
  /** The constructor of WebSockets. Default: the global one; Node.js 20 has none, there give the one of the package `ws`. */
  WebSocket?: new (url: string, protocols: string[]) => any;
  /** How frames are written. Default: JSON; `@portico/client/cbor` has the binary encoding. */
  codec?: Codec;
  /** How a lost connection is tried again. */
  reconnect?: ReconnectOptions;
  /** Calls that may wait for the connection or for an answer. Above: `resource-exhausted`. Default 4,096. */
  maxPending?: number;
  /** Bytes that those calls may hold. Default 32 MiB; a single call may always go. */
  maxPendingBytes?: number;
  /** What calls do while there is no connection: `wait` (the default) or fail at once with `unavailable`. */
  offline?: "wait" | "fail";
  /** Milliseconds that a call waits for its answer, waiting for the connection included. Default 30,000. */
  timeout?: number;
  /** Closes the connection when it is aborted. */
  signal?: AbortSignal;
}

/** The pause before attempt n is drawn between 0 and the smaller of `max` and `min` × 2ⁿ, so that many clients do not come back at once. */
export interface ReconnectOptions {
  /** Milliseconds; default 250. */
  min?: number;
  /** Milliseconds; default 15,000. */
  max?: number;
  /** Attempts in a row before the connection is given up. Default: no limit. */
  retries?: number;
}

/** How frames become WebSocket messages. */
export interface Codec {
  /** The subprotocol to ask for. */
  readonly protocol: string;
  /** Writes a frame. A payload is in `data`, as a string or as bytes. */
  encode(frame: Record<string, any>): string | Uint8Array;
  /** Reads a WebSocket message: a frame, or a list of frames. A payload is in `data`, as a string or as bytes. */
  decode(message: string | ArrayBuffer): unknown;
  /** Puts several written frames into one WebSocket message. Without it each travels alone. */
  join?(frames: (string | Uint8Array)[]): string | Uint8Array;
}

/** `connecting`: for the first time. `reconnecting`: it was open, and will be again. `closed`: for good. */
export type Status = "connecting" | "open" | "reconnecting" | "closed";

/** How the connection is, and why. */
export interface StatusEvent {
  status: Status;
  /** Why a connection ended. */
  error?: PorticoError;
  /** Milliseconds until the next attempt. */
  retryIn?: number;
}

/** A connection to a gateway. */
export interface Connection {
  /** How the connection is now. */
  readonly status: Status;
  /** The user that the gateway knows this connection by; empty without a login. */
  readonly user: string;
  /** This connection's name in presence lists; another one after each reconnection. */
  readonly client: string;
  /** Fulfilled when the connection is open for the first time; rejected if it closes before. */
  readonly opened: Promise<void>;
  /** Fulfilled when the connection is closed for good; with the error that closed it, if one did. */
  readonly closed: Promise<PorticoError | undefined>;
  /** Calls a function at each change of status, and returns what ends that. */
  on(event: "status", listener: (event: StatusEvent) => void): () => void;
  /** Calls a function with each error that no call and no iteration can tell: a service that threw, an answer that could not be sent, a refresh that failed. */
  on(event: "error", listener: (error: unknown) => void): () => void;

  /** Publishes. Fulfilled when every queue that is bound to the subject, and the stream that captures it, keeps the message. */
  publish(subject: string, data?: Payload, options?: PublishOptions): Promise<Published>;
  /** Publishes and waits for the first answer. Nobody there: `no-responders`, at once. */
  request(subject: string, data?: Payload, options?: RequestOptions): Promise<Message>;
  /** Answers requests. What the handler returns is the answer; what it throws is answered with an empty payload and the header `Error`. */
  serve(subject: string, handler: (request: Message) => Payload | Promise<Payload>, options?: ServeOptions): Service;
  /** Subscribes to a subject, which may have wildcards, or to a stream. */
  subscribe(subject: string, options?: SubscribeOptions): Subscription;
  /** What a stream holds, a page at a time. */
  history(options: HistoryOptions): Promise<History>;
  /** Deletes a named cursor. */
  forgetCursor(stream: string, cursor: string): Promise<void>;
  /** Takes messages from a queue. */
  consume(queue: string, options?: ConsumeOptions): Consumer;
  /** A queue, to declare, feed and empty it. */
  queue(name: string): Queue;
  /** A key-value bucket. */
  kv(bucket: string): KV;
  /** Who is on a subject: how many, and the first thousand of them. */
  presence(subject: string): Promise<{ count: number; members: Member[] }>;
  /** Tells those who come and go on a subject, after those who are there already. */
  watchPresence(subject: string, options?: FeedOptions): Watch<PresenceEvent>;
  /** Asks for a sign of life, and returns the milliseconds it took. */
  ping(): Promise<number>;
  /** Closes for good. Calls without an answer fail with `closed`, loops end, deliveries that were not settled go back to their queues. */
  close(): Promise<void>;
}

/** What every call can be given. */
export interface CallOptions {
  /** Milliseconds to wait for the answer. Default: the connection's `timeout`. */
  timeout?: number;
  /** Ends the waiting, with the signal's reason. What was sent already may still be done. */
  signal?: AbortSignal;
}

/** How a message is published. */
export interface PublishOptions extends CallOptions {
  headers?: Headers;
  /** Where an answer is expected. */
  reply?: string;
  /**
   * Makes the publish idempotent: of the messages with the same id, a queue or a stream keeps one within its window. With an id a publish that was under way when the connection broke
   * is sent again; without one it fails with `connection-lost`, because whether it was done cannot be known.
   */
  id?: string;
}

/** What became of a publish. */
export interface Published {
  /** How many queues keep it. */
  queues: number;
  /** Whether anybody was listening. */
  live: boolean;
  /** Whether all had it already. */
  duplicate: boolean;
  /** The stream that keeps it, if one does. */
  stream?: string;
  /** Its number in the stream. */
  seq?: number;
}

/** How a request is made. */
export interface RequestOptions extends CallOptions {
  headers?: Headers;
}

/** A message. */
export interface Message {
  /** Empty if it was put into a queue directly. */
  readonly subject: string;
  /** Where an answer goes; empty if none is expected. */
  readonly reply: string;
  readonly headers: Headers;
  /** The payload. */
  readonly bytes: Uint8Array;
  /** The stream it was read from. */
  readonly stream?: string;
  /** Its number in the stream. */
  readonly seq?: number;
  /** When the stream stored it. */
  readonly time?: string;
  /** The first value of a header; its name may be written in any case. */
  header(name: string): string | undefined;
  /** The payload as text. */
  text(): string;
  /** The payload as JSON. */
  json<T = any>(): T;
  /** Answers, if an answer is expected. */
  respond(data?: Payload, options?: { headers?: Headers }): Promise<void>;
}

/** What is open until it is stopped. It survives reconnections. */
export interface Open {
  /** Fulfilled when the gateway has opened it for the first time; rejected if it refuses. */
  readonly ready: Promise<void>;
  /** Fulfilled when it has ended; with the error that ended it, if one did. */
  readonly done: Promise<PorticoError | undefined>;
  /** Ends it. */
  stop(): Promise<void>;
}

/** How a service answers. */
export interface ServeOptions {
  /** Among the services with the same subject and group one gets each request. Default `serve`. */
  group?: string;
  /** Handlers that run at once. Default 64. */
  concurrency?: number;
  /** Requests that wait for a handler. Above, one is answered with the header `Error`. Default 1,024. */
  buffer?: number;
  signal?: AbortSignal;
}

/** A service that answers requests. */
export interface Service extends Open {}

/** How many items an iteration may be behind. */
export interface FeedOptions {
  /** Items that wait for the loop. Default 1,024. */
  buffer?: number;
  /** Bytes of payload that wait for the loop. Default 16 MiB. */
  bufferBytes?: number;
  /** Ends the iteration, without an error. */
  signal?: AbortSignal;
}

/** What is subscribed to. */
export interface SubscribeOptions extends FeedOptions {
  /** Of the subscribers with the same group one gets each message. */
  group?: string;
  /** Only messages whose headers fit. */
  filter?: Filter;
  /** Follows this stream instead of what is published now. Nothing is lost while the loop is slow or the connection is gone: the gateway waits, and a reconnection continues behind the last message. */
  stream?: string;
  /** Where in the stream to begin. Default `new`. */
  from?: From;
  /** Continues behind this sequence number. */
  after?: number;
  /** The making of the stream that `after` belongs to. */
  epoch?: string;
  /** A name under which the gateway keeps the place that `commit` tells: the next subscription with it continues there. */
  cursor?: string;
  /** Shows this connection in the subject's presence while it is subscribed, with this information (1 KiB at most). No wildcards. */
  join?: true | Record<string, unknown>;
  /** When more waits for the loop than the buffer takes: forget the oldest, forget the newest, or end with `resource-exhausted`. The gateway does the same with what the connection is too slow for. Each loss is a `gap` event. A stream needs no choice: it waits. Default `drop-oldest`. */
  overflow?: "drop-oldest" | "drop-newest" | "close";
}

/** Where in a stream to begin. */
export type From = "new" | "all" | "last" | { seq: number } | { time: string | Date };

/** A message's headers fit if all of `all`, and one of `any` if there are any, hold. */
export interface Filter {
  all?: Condition[];
  any?: Condition[];
}

/** Looks at a header, by one of the three; the case of its name does not matter. */
export interface Condition {
  header: string;
  equal?: string;
  prefix?: string;
  /** Whether the header has to be there, or must not. */
  present?: boolean;
}

/** Messages that were lost to a subscription, named as exactly as can be. */
export interface Gap {
  /**
   * Why: `recovery` (the stream no longer has them), `reset` (the stream was made anew), `reconnect` (there was no connection, and no stream to read them from), `buffer` (the loop was
   * too slow).
   */
  reason: "recovery" | "reset" | "reconnect" | "buffer";
  /** The first sequence number that is missing; only of a stream. */
  from?: number;
  /** The last one. */
  to?: number;
  /** How many the buffer forgot; only of `buffer`. */
  dropped?: number;
}

/** What a reconnection found. */
export interface Recovery {
  /** Whether nothing is missing. */
  recovered: boolean;
  /** What is missing, if that is known. */
  gap?: Gap;
}

/** A loop over messages. Ending the loop ends the subscription. */
export interface Subscription extends Open, AsyncIterable<Message> {
  /** The last sequence number that the loop was given; 0 without a stream. */
  readonly seq: number;
  /** Which making of the stream that number belongs to. */
  readonly epoch: string | undefined;
  /** Keeps a place of a named cursor on disk: this sequence number, or the last one that the loop was given. */
  commit(seq?: number): Promise<void>;
  /** Calls a function with each gap, and returns what ends that. */
  on(event: "gap", listener: (gap: Gap) => void): () => void;
  /** Calls a function after each reconnection. */
  on(event: "resumed", listener: (recovery: Recovery) => void): () => void;
}

/** What of a stream to read. */
export interface HistoryOptions extends CallOptions {
  /** The stream; or the one that captures `subject`. */
  stream?: string;
  /** Only messages on this subject, which may have wildcards. */
  subject?: string;
  /** The newest so many, oldest first. */
  last?: number;
  /** Where to begin. Default: at the beginning, or backwards at the end. */
  from?: Exclude<From, "new" | "last">;
  /** How many at most, up to 1,000. Default 100. The gateway cuts a page at about 4 MiB. */
  limit?: number;
  /** Newest first. */
  backward?: boolean;
}

/** A page of a stream. Given to `subscribe` as `after` and `epoch`, the last number and `epoch` continue it live, without a hole. */
export interface History {
  stream: string;
  /** Which making of the stream this is: a stream that was deleted and made again has another. */
  epoch: string;
  messages: Message[];
  /** The number to give as `from.seq` for the next page in the same direction. */
  next: number;
  /** Whether there is a next page. */
  more: boolean;
}

/** How a queue is consumed. */
export interface ConsumeOptions {
  /** Deliveries held unsettled at once. Default 64. */
  credit?: number;
  /** Milliseconds that a delivery is held; after that the message goes back. Default: until it is settled or the connection ends. */
  lease?: number;
  /** Acknowledges each delivery when the loop asks for the next one. */
  autoAck?: boolean;
  /** Alone, or not at all. */
  exclusive?: boolean;
  /** Among the queue's consumers; default 0. */
  priority?: number;
  /** Ends the iteration. */
  signal?: AbortSignal;
}

/** A loop over deliveries. Ending the loop gives back what it has not been given. */
export interface Consumer extends Open, AsyncIterable<Delivery> {}

/** A message to be settled. After a reconnection settling one of before fails with `connection-lost`: the message went back to its queue and comes again. */
export interface Delivery extends Message {
  /** How often it has been delivered, this time included. */
  readonly attempt: number;
  /** Whether somebody may have seen it before. */
  readonly redelivered: boolean;
  /** Done. Fulfilled when that is on disk. */
  ack(): Promise<void>;
  /** Not done: back to its place, to be delivered again. */
  nack(): Promise<void>;
  /** Not done and never again: to the queue's dead letters. */
  deadLetter(): Promise<void>;
  /** Holds a leased delivery this many milliseconds from now. */
  extend(lease: number): Promise<void>;
}

/** What a queue is; see the gateway's documentation of queues. */
export interface QueueOptions {
  durable?: boolean;
  autoDelete?: boolean;
  type?: "classic" | "quorum" | "stream";
  maxPriority?: number;
  singleActiveConsumer?: boolean;
  maxDeliveries?: number;
  /** Milliseconds that a message waits. */
  messageTtl?: number;
  /** Milliseconds that the queue may be unused. */
  expires?: number;
  /** Milliseconds that a stream keeps a message. */
  maxAge?: number;
  maxLength?: number;
  maxLengthBytes?: number;
  overflow?: "drop-head" | "reject-publish" | "reject-publish-dlx";
  deadLetter?: { queue: string } | { subject: string } | { exchange: string; routing_key?: string } | Record<string, never>;
}

/** A queue by its name. */
export interface Queue {
  readonly name: string;
  /** Creates it, or finds the one with the same properties; tells whether it was created. */
  declare(options?: QueueOptions): Promise<boolean>;
  /** Feeds what is published on a subject pattern into it. */
  bind(subject: string): Promise<void>;
  /** Ends that. */
  unbind(subject: string): Promise<void>;
  /** Puts a message into it. Fulfilled when it is kept. */
  append(data?: Payload, options?: PublishOptions): Promise<void>;
  /** Takes messages from it. */
  consume(options?: ConsumeOptions): Consumer;
  /** Removes what is ready; returns how many those were. */
  purge(): Promise<number>;
  /** Deletes it; returns how many ready messages it had. */
  delete(): Promise<number>;
}

/** A value of a bucket, or the mark that it was deleted. */
export interface Entry {
  readonly bucket: string;
  readonly key: string;
  readonly revision: number;
  readonly time: string;
  readonly operation: "put" | "delete" | "purge";
  /** The value; empty if it was deleted. */
  readonly bytes: Uint8Array;
  /** The value as text. */
  text(): string;
  /** The value as JSON. */
  json<T = any>(): T;
}

/** A key-value bucket by its name. */
export interface KV {
  readonly bucket: string;
  /** The value, or the one of a revision; undefined if there is none. */
  get(key: string, revision?: number): Promise<Entry | undefined>;
  /** Sets the value; returns its revision. */
  put(key: string, value: Payload): Promise<number>;
  /** Sets the value if there is none: else `precondition-failed`. */
  create(key: string, value: Payload): Promise<number>;
  /** Sets the value if its revision is this one: else `precondition-failed`. */
  update(key: string, value: Payload, revision: number): Promise<number>;
  /** Deletes the value, if its revision is the one given. */
  delete(key: string, revision?: number): Promise<void>;
  /** Deletes the value and what it was before. */
  purge(key: string): Promise<void>;
  /** The keys that fit a pattern. Default: all. */
  keys(pattern?: string): AsyncIterable<string>;
  /** What a key's value was, oldest first. */
  history(key: string): Promise<Entry[]>;
  /** Tells the changes of the keys that fit a pattern, after the values that are there already. */
  watch(pattern?: string, options?: FeedOptions): Watch<Entry>;
}

/** A loop over changes. Ending the loop ends the watch. */
export interface Watch<T> extends Open, AsyncIterable<T> {
  /** Fulfilled when what was there already has been told. */
  readonly current: Promise<void>;
}

/** Somebody on a subject. */
export interface Member {
  /** Names the connection among all others. */
  client: string;
  user: string;
  info?: unknown;
  /** When it came. */
  since: string;
}

/** Somebody comes or goes. */
export interface PresenceEvent extends Member {
  action: "join" | "leave";
}
