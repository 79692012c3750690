// The queue panel: declare, append, and consume with a settlement button on every delivery.

import type { Connection } from "./connection";
import { byId, h, input, onSubmit } from "./dom";
import { type Frame, messageOf, numberField, textField, withPayload } from "./frames";
import { messageRow } from "./row";

const credit = 10; // deliveries held at once, and so the length of the list
const sid = "queue";

export class QueuePanel {
  #consumed = ""; // the queue that is consumed now; "" for none
  #rows = new Map<number, HTMLElement>(); // by tag
  #list = byId("deliveries", HTMLOListElement);

  constructor(private readonly connection: Connection) {
    onSubmit("queue", (verb) => {
      const name = input("queue-name").value;
      switch (verb) {
        case "declare":
          return this.#declare(name);
        case "append":
          return this.#append(name);
        default:
          return this.#consumed === "" ? this.#consume(name) : this.#cancel();
      }
    });
  }

  /** Consumes on again after a reconnection. What was held went back to the queue when the old connection ended. */
  async resume(): Promise<void> {
    this.#empty();
    if (this.#consumed !== "") {
      await this.#consume(this.#consumed);
    }
  }

  receive(frame: Frame): void {
    if (textField(frame, "sid") !== sid) {
      return;
    }
    if (frame.op === "gone") {
      this.#stopped();
      this.#empty();
      return;
    }
    const tag = numberField(frame, "tag");
    const settle = (label: string, answer: Frame) => h("button", { type: "button", onclick: () => void this.#settle(tag, answer) }, label);
    const row = messageRow(
      messageOf(frame),
      h("span", { class: "attempt" }, `attempt ${numberField(frame, "attempt")}`),
      settle("Ack", { op: "ack", tag }),
      settle("Requeue", { op: "nack", tag, requeue: true }),
      settle("Reject", { op: "nack", tag, requeue: false }),
    );
    this.#rows.set(tag, row);
    this.#list.append(row);
  }

  async #declare(queue: string): Promise<string> {
    const ok = await this.connection.call({ op: "declare", queue });
    const created = ok["created"] === true ? "Created" : "It was there already";
    const subject = input("queue-pattern").value.trim();
    if (subject === "") {
      return `${created}.`;
    }
    await this.connection.call({ op: "bind", queue, subject });
    return `${created}; it keeps what is published on ${subject}.`;
  }

  async #append(queue: string): Promise<string> {
    await this.connection.call(withPayload({ op: "append", queue }, new TextEncoder().encode(input("queue-payload").value)));
    return "Kept.";
  }

  async #consume(queue: string): Promise<string> {
    this.#consumed = queue; // a delivery may come with the ok
    try {
      await this.connection.call({ op: "consume", sid, queue, credit });
    } catch (failure) {
      this.#stopped();
      throw failure;
    }
    byId("consume", HTMLButtonElement).textContent = "Stop";
    return `Consuming ${queue}, at most ${credit} at a time.`;
  }

  /** Ends the deliveries and gives back what is held. */
  async #cancel(): Promise<string> {
    const tags = [...this.#rows.keys()];
    await this.connection.call({ op: "cancel", sid });
    this.#stopped();
    this.#empty();
    if (tags.length > 0) {
      await this.connection.call({ op: "nack", tags, requeue: true });
    }
    return tags.length === 0 ? "Stopped." : `Stopped; ${tags.length} went back.`;
  }

  async #settle(tag: number, answer: Frame): Promise<void> {
    const row = this.#rows.get(tag);
    try {
      await this.connection.call(answer);
    } finally {
      row?.remove(); // settled, or no longer ours
      this.#rows.delete(tag);
    }
  }

  #stopped(): void {
    this.#consumed = "";
    byId("consume", HTMLButtonElement).textContent = "Consume";
  }

  #empty(): void {
    this.#rows.clear();
    this.#list.replaceChildren();
  }
}
