// The live feed: what arrives on the subscribed patterns, newest first, at most maxRows of it.

import type { Connection } from "./connection";
import { button, byId, h, input, onSubmit } from "./dom";
import { type Frame, type Message, messageOf, textField } from "./frames";
import { messageRow } from "./row";

const maxRows = 300;

export class Feed {
  #patterns = new Map<string, string>(); // pattern by subscription id; kept over reconnections
  #lastSid = 0;
  #fresh: Message[] = []; // arrived since the last frame was painted; at most maxRows
  #painting = false;
  #paused = false;
  #arrived = 0;
  #list = byId("messages", HTMLOListElement);
  #count = byId("count", HTMLElement);
  #chips = byId("patterns", HTMLUListElement);

  constructor(
    private readonly connection: Connection,
    private readonly answer: (to: string) => void,
  ) {
    onSubmit("subscribe", async () => {
      await this.add(input("pattern").value.trim());
      return "";
    });
    button("pause").addEventListener("click", () => this.#pause(!this.#paused));
    button("clear").addEventListener("click", () => this.#clear());
  }

  /** Subscribes to a pattern, now and after every reconnection. */
  async add(pattern: string): Promise<void> {
    if ([...this.#patterns.values()].includes(pattern)) {
      return;
    }
    const sid = `feed-${++this.#lastSid}`;
    this.#patterns.set(sid, pattern); // a message may come before the ok
    try {
      await this.#subscribe(sid, pattern);
    } catch (failure) {
      this.#patterns.delete(sid);
      throw failure;
    } finally {
      this.#showPatterns();
    }
  }

  /** Asks again for everything that was subscribed, on a new connection. */
  async resume(): Promise<void> {
    if (this.#lastSid === 0) {
      await this.add(input("pattern").value);
      return;
    }
    await Promise.all([...this.#patterns].map(([sid, pattern]) => this.#subscribe(sid, pattern)));
  }

  receive(frame: Frame): void {
    if (!this.#patterns.has(textField(frame, "sid"))) {
      return;
    }
    this.#arrived++;
    if (!this.#paused) {
      this.#fresh.push(messageOf(frame));
      this.#fresh.splice(0, this.#fresh.length - maxRows);
    }
    this.#paintSoon();
  }

  #subscribe(sid: string, subject: string): Promise<Frame> {
    return this.connection.call({ op: "sub", sid, subject });
  }

  async #remove(sid: string): Promise<void> {
    this.#patterns.delete(sid);
    this.#showPatterns();
    await this.connection.call({ op: "unsub", sid });
  }

  #showPatterns(): void {
    this.#chips.replaceChildren(
      ...[...this.#patterns].map(([sid, pattern]) => {
        const remove = h("button", { type: "button", "aria-label": `Stop listening to ${pattern}` }, "×");
        remove.addEventListener("click", () => void this.#remove(sid).catch(() => undefined)); // gone with the connection is gone as well
        return h("li", {}, h("code", {}, pattern), remove);
      }),
    );
  }

  /** Messages may come by the thousand a second; the page is painted once a frame. */
  #paintSoon(): void {
    if (!this.#painting) {
      this.#painting = true;
      requestAnimationFrame(() => this.#paint());
    }
  }

  #paint(): void {
    this.#painting = false;
    this.#count.textContent = `${this.#arrived.toLocaleString()} received${this.#paused ? ", paused" : ""}`;
    this.#list.prepend(...this.#fresh.reverse().map((m) => this.#row(m)));
    this.#fresh = [];
    while (this.#list.childElementCount > maxRows) {
      this.#list.lastElementChild?.remove();
    }
  }

  #row(m: Message): HTMLElement {
    return m.reply === "" ? messageRow(m) : messageRow(m, h("button", { type: "button", onclick: () => this.answer(m.reply) }, "Answer"));
  }

  #pause(paused: boolean): void {
    this.#paused = paused;
    button("pause").setAttribute("aria-pressed", String(paused));
    this.#paintSoon();
  }

  #clear(): void {
    this.#arrived = 0;
    this.#fresh = [];
    this.#list.replaceChildren();
    this.#paintSoon();
  }
}
