// The work panel: a queue, and its deliveries with a button for each way to settle them.

import type { Connection, Consumer, Delivery } from "../client/portico";
import { byId, h, input, onSubmit, tell } from "./dom";
import { messageRow } from "./inspect";

const credit = 10; // deliveries held at once, and so the length of the list
const lease = 300_000; // ms

export class WorkPanel {
  #consumer: Consumer | undefined;
  #list = byId("deliveries", HTMLOListElement);
  #held = new Set<Delivery>();

  constructor(private readonly connection: () => Connection) {
    onSubmit("queue", (verb) => {
      const name = input("queue-name").value.trim();
      switch (verb) {
        case "declare":
          return this.#declare(name);
        case "purge":
          return this.#purge(name);
        default:
          return this.#consumer === undefined ? this.consume(name) : this.#stop();
      }
    });
    this.#list.addEventListener("keydown", (event) => this.#key(event));
  }

  /** What was held went back to the queue when the connection ended. */
  lost(): void {
    this.#held.clear();
    this.#list.replaceChildren();
  }

  /** Takes messages until it is stopped. */
  async consume(name: string): Promise<string> {
    await this.#consumer?.stop();
    input("queue-name").value = name;
    const consumer = this.connection().consume(name, { credit, lease });
    this.#consumer = consumer;
    this.#label("Stop");
    void this.#follow(consumer);
    await consumer.ready;
    return `Consuming ${name}, at most ${credit} at a time.`;
  }

  async #follow(consumer: Consumer): Promise<void> {
    const status = byId("queue", HTMLFormElement).querySelector<HTMLElement>("[role=status]");
    try {
      for await (const delivery of consumer) {
        this.#show(delivery);
      }
    } catch (error) {
      tell(status, (error as Error).message, true);
    }
    if (this.#consumer === consumer) {
      this.#consumer = undefined;
      this.#label("Consume");
      this.lost();
    }
  }

  #show(d: Delivery): void {
    const row = messageRow(d, [h("span", { class: "attempt" }, `attempt ${d.attempt}`)]);
    const settle = (label: string, key: string, work: () => Promise<void>) =>
      h("button", { type: "button", "data-key": key, "aria-keyshortcuts": key, onclick: () => void this.#settle(d, row, work) }, label);
    row.querySelector(":scope > .actions")!.append(settle("Ack", "a", () => d.ack()), settle("Requeue", "r", () => d.nack()), settle("Dead-letter", "d", () => d.deadLetter()));
    this.#held.add(d);
    this.#list.append(row);
  }

  /** Takes the row away, whatever came of it: it is settled, or no longer ours. The focus goes to the next one. */
  async #settle(d: Delivery, row: HTMLElement, work: () => Promise<void>): Promise<void> {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    const focused = row.contains(document.activeElement);
    try {
      await work();
    } catch (error) {
      tell(byId("queue", HTMLFormElement).querySelector<HTMLElement>("[role=status]"), (error as Error).message, true);
    }
    this.#held.delete(d);
    row.remove();
    if (focused) {
      (next?.querySelector<HTMLElement>("summary") ?? byId("consume", HTMLButtonElement)).focus();
    }
  }

  /** a, r and d settle the delivery that has the focus; the arrows go through the list. */
  #key(event: KeyboardEvent): void {
    const row = (event.target as HTMLElement).closest("#deliveries > li");
    const neighbour = { ArrowDown: row?.nextElementSibling, ArrowUp: row?.previousElementSibling }[event.key];
    const key = event.ctrlKey || event.altKey || event.metaKey ? undefined : row?.querySelector<HTMLButtonElement>(`[data-key="${CSS.escape(event.key)}"]`);
    if (neighbour && (event.target as HTMLElement).tagName === "SUMMARY") {
      neighbour.querySelector("summary")?.focus();
    } else if (key) {
      key.click();
    } else {
      return;
    }
    event.preventDefault();
  }

  async #declare(name: string): Promise<string> {
    const created = (await this.connection().queue(name).declare()) ? "Created" : "It was there already";
    const subject = input("queue-pattern").value.trim();
    if (subject === "") {
      return `${created}.`;
    }
    await this.connection().queue(name).bind(subject);
    return `${created}; it keeps what is published on ${subject}.`;
  }

  async #purge(name: string): Promise<string> {
    const n = await this.connection().queue(name).purge();
    return `Removed ${n} that ${n === 1 ? "was" : "were"} ready.`;
  }

  /** Ends the deliveries and gives back what is held. */
  async #stop(): Promise<string> {
    const held = [...this.#held];
    const consumer = this.#consumer;
    this.lost();
    await consumer?.stop();
    await Promise.all(held.map((d) => d.nack()));
    return held.length === 0 ? "Stopped." : `Stopped; ${held.length} went back.`;
  }

  #label(text: string): void {
    byId("consume", HTMLButtonElement).textContent = text;
  }
}
