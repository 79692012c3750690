// The live tap: what arrives on the subscribed patterns, newest first, at most maxRows of it.

import type { Condition, Connection, Gap, Message, SubscribeOptions, Subscription } from "../client/portico";
import { button, byId, h, input, onSubmit, select } from "./dom";
import { asText, messageRow } from "./inspect";

const maxRows = 300;
const maxTaps = 32; // patterns at once
const searched = 64 * 1024; // bytes of a payload that are looked through

/** What a row can do with its message. */
export interface Uses {
  answer(m: Message): void;
  reuse(m: Message): void;
}

/** A subscription, and what may be behind it: the pattern and what is asked of the messages. */
interface Tap {
  words: string;
  subscription: Subscription;
  open: boolean;
}

export class LiveTap {
  #taps = new Map<string, Tap>(); // by what they are
  #fresh: HTMLElement[] = []; // came since the last frame was painted; at most maxRows
  #painting = false;
  #paused = false;
  #arrived = 0;
  #list = byId("messages", HTMLOListElement);
  #count = byId("count", HTMLElement);
  #chips = byId("patterns", HTMLUListElement);

  constructor(
    private readonly connection: () => Connection,
    private readonly uses: Uses,
  ) {
    onSubmit("subscribe", () => this.add(input("pattern").value.trim(), this.#asked()));
    button("pause").addEventListener("click", () => this.pause());
    button("clear").addEventListener("click", () => this.clear());
    this.#list.addEventListener("keydown", (event) => this.#walk(event));
    this.#list.addEventListener("focusin", (event) => this.#stay(event.target as HTMLElement));
  }

  /** What the filter's fields ask for. */
  #asked(): SubscribeOptions {
    const header = input("filter-header").value.trim();
    const value = input("filter-value").value;
    const stream = input("stream").value.trim();
    const condition: Condition = { header };
    switch (select("filter-how").value) {
      case "equal":
        condition.equal = value;
        break;
      case "prefix":
        condition.prefix = value;
        break;
      default:
        condition.present = true;
    }
    return {
      ...(header === "" ? {} : { filter: { all: [condition] } }),
      ...(stream === "" ? {} : { stream, from: select("from").value === "all" ? ("all" as const) : ("new" as const) }),
    };
  }

  /** Subscribes to a pattern; the library does so again after every reconnection. */
  async add(pattern: string, options: SubscribeOptions = {}): Promise<string> {
    const words = [pattern, describe(options)].filter((w) => w !== "").join(" ");
    if (this.#taps.has(words)) {
      return "That is listened to already.";
    }
    if (this.#taps.size >= maxTaps) {
      throw new Error(`at most ${maxTaps} at once`);
    }
    const subscription = this.connection().subscribe(pattern, { ...options, buffer: maxRows, overflow: "drop-oldest" });
    subscription.on("gap", (gap) => this.#note(gap, words));
    const tap = { words, subscription, open: false };
    void this.#follow(tap);
    await subscription.ready;
    tap.open = true;
    this.#showTaps();
    return "";
  }

  async #follow(tap: Tap): Promise<void> {
    const words = tap.words;
    this.#taps.set(words, tap);
    try {
      for await (const m of tap.subscription) {
        this.#receive(m);
      }
    } catch (error) {
      this.#put(h("li", { class: "gap" }, `${words}: ${(error as Error).message}`));
    } finally {
      this.#taps.delete(words);
      this.#showTaps();
    }
  }

  #receive(m: Message): void {
    this.#arrived++;
    const wanted = input("search").value.toLowerCase();
    if (!this.#paused && (wanted === "" || contains(m, wanted))) {
      this.#put(this.#row(m));
    }
    this.#paintSoon();
  }

  #row(m: Message): HTMLElement {
    const reuse = () => [h("button", { type: "button", onclick: () => this.uses.reuse(m) }, "Use as draft")];
    const answer = m.reply === "" ? [] : [h("button", { type: "button", onclick: () => this.uses.answer(m) }, "Answer")];
    const row = messageRow(m, answer, reuse);
    row.querySelector("summary")!.tabIndex = -1; // the arrows lead to it
    return row;
  }

  #note(gap: Gap, words: string): void {
    const what = gap.from !== undefined ? `messages ${gap.from} to ${gap.to} are gone` : gap.dropped !== undefined ? `${gap.dropped} more came than can be shown` : "some may have been missed while there was no connection";
    this.#put(h("li", { class: "gap" }, `${words}: ${what}`));
  }

  #put(row: HTMLElement): void {
    this.#fresh.push(row);
    this.#fresh.splice(0, this.#fresh.length - maxRows);
    this.#paintSoon();
  }

  #showTaps(): void {
    this.#chips.replaceChildren(
      ...[...this.#taps.values()].filter((tap) => tap.open).map(({ words, subscription }) => {
        const remove = h("button", { type: "button", "aria-label": `Stop listening to ${words}`, onclick: () => void subscription.stop() }, "×");
        return h("li", {}, h("code", {}, words), remove);
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
    this.#list.prepend(...this.#fresh.reverse());
    this.#fresh = [];
    const held = document.activeElement;
    while (this.#list.childElementCount > maxRows) {
      const last = this.#list.lastElementChild!;
      if (last.contains(held)) {
        this.#summaries()[0]?.focus(); // the row that had the focus is the oldest: the focus goes on
      }
      last.remove();
    }
    if (this.#list.querySelector('summary[tabindex="0"]') === null) {
      const first = this.#summaries()[0];
      if (first) {
        first.tabIndex = 0;
      }
    }
  }

  #summaries(): HTMLElement[] {
    return [...this.#list.querySelectorAll<HTMLElement>(":scope > li > details > summary")];
  }

  /** The list is one stop of the tab key: arrows, Home and End go through its rows. */
  #walk(event: KeyboardEvent): void {
    const rows = this.#summaries();
    const at = rows.indexOf(event.target as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (at >= 0 && to !== undefined) {
      event.preventDefault();
      rows[to]?.focus();
    }
  }

  #stay(target: HTMLElement): void {
    const rows = this.#summaries();
    if (rows.includes(target)) {
      rows.forEach((row) => (row.tabIndex = row === target ? 0 : -1));
    }
  }

  pause(): void {
    this.#paused = !this.#paused;
    button("pause").setAttribute("aria-pressed", String(this.#paused));
    this.#paintSoon();
  }

  clear(): void {
    this.#arrived = 0;
    this.#fresh = [];
    this.#list.replaceChildren();
    this.#paintSoon();
  }
}

function describe({ filter, stream, from }: SubscribeOptions): string {
  const c = filter?.all?.[0];
  const asked = c === undefined ? "" : `${c.header}${c.equal !== undefined ? `=${c.equal}` : c.prefix !== undefined ? `^=${c.prefix}` : ""}`;
  return [asked === "" ? "" : `[${asked}]`, stream === undefined ? "" : `of ${stream}, ${from === "all" ? "from its beginning" : "from now on"}`].filter((w) => w !== "").join(" ");
}

function contains(m: Message, wanted: string): boolean {
  const headers = Object.entries(m.headers).flat(2).join("\n");
  return `${m.subject}\n${headers}\n${asText(m.bytes.subarray(0, searched)) ?? ""}`.toLowerCase().includes(wanted);
}
