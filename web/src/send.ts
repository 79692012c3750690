// The form that publishes, requests and appends.

import type { Connection } from "./connection";
import { byId, input, onSubmit } from "./dom";
import { type Frame, type Header, messageOf, numberField, withPayload } from "./frames";
import { readable } from "./row";

const requestTimeout = 5; // seconds

export class Sender {
  #answer = byId("answer", HTMLElement);

  constructor(private readonly connection: Connection) {
    onSubmit("send", (verb) => (verb === "request" ? this.#request() : this.#publish()));
  }

  /** Fills in where an answer goes. */
  answerTo(subject: string): void {
    input("subject").value = subject;
    byId("payload", HTMLTextAreaElement).focus();
  }

  async #publish(): Promise<string> {
    this.#show("");
    const ok = await this.connection.call(this.#frame("pub"));
    const queues = numberField(ok, "queues");
    const kept = queues === 0 ? "" : queues === 1 ? "kept by 1 queue" : `kept by ${queues} queues`;
    const heard = ok["live"] === true ? "heard by a subscriber" : "";
    return "Published: " + ([kept, heard].filter((s) => s !== "").join(", ") || "nobody listens") + ".";
  }

  async #request(): Promise<string> {
    this.#show("");
    const began = performance.now();
    const answer = await this.connection.call({ ...this.#frame("req"), timeout: `${requestTimeout}s` }, (requestTimeout + 2) * 1000);
    this.#show(readable(messageOf(answer).payload));
    return `Answered in ${(performance.now() - began).toFixed(1)} ms.`;
  }

  #frame(op: string): Frame {
    const frame: Frame = { op, subject: input("subject").value.trim() };
    const headers = parseHeaders(byId("headers", HTMLTextAreaElement).value);
    if (Object.keys(headers).length > 0) {
      frame["headers"] = headers;
    }
    return withPayload(frame, new TextEncoder().encode(byId("payload", HTMLTextAreaElement).value));
  }

  #show(text: string): void {
    this.#answer.textContent = text;
    this.#answer.hidden = text === "";
  }
}

/** Headers as one writes them: a line each, name: value. */
function parseHeaders(text: string): Header {
  const headers: Record<string, string[]> = {};
  for (const line of text.split("\n").filter((l) => l.trim() !== "")) {
    const colon = line.indexOf(":");
    if (colon < 1) {
      throw new Error(`headers: "${line.trim()}" is not of the form name: value`);
    }
    (headers[line.slice(0, colon).trim()] ??= []).push(line.slice(colon + 1).trim());
  }
  return headers;
}
