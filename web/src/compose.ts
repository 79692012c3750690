// The form in which something is done: which door, what, where and with what; and how the same is done elsewhere.

import type { Connection, Message } from "../client/portico";
import { button, byId, h, input, onSubmit, picked, tell } from "./dom";
import { asText, inspect } from "./inspect";
import { doors, type Door, type Draft, grouped, type Place, snippets, type Verb } from "./snippets";

const requestTimeout = 5000; // ms

const labels: Record<Verb, [field: string, button: string]> = {
  publish: ["Subject", "Publish"],
  request: ["Subject", "Request"],
  subscribe: ["Subject pattern", "Subscribe"],
  append: ["Queue", "Append"],
  consume: ["Queue", "Consume"],
};

/** What the other panels do for the form. */
export interface Others {
  subscribe(pattern: string): Promise<string>;
  consume(queue: string): Promise<string>;
}

export class Composer {
  #answer = byId("answer", HTMLElement);

  constructor(
    private readonly connection: () => Connection,
    private readonly place: () => Place,
    private readonly authorization: () => Record<string, string>,
    private readonly others: Others,
  ) {
    byId("doors", HTMLFieldSetElement).append(
      ...doors.map((d, i) => h("label", {}, h("input", { type: "radio", name: "door", value: d, checked: i === 0 }), d)),
    );
    onSubmit("send", () => this.#run());
    const form = byId("send", HTMLFormElement);
    form.addEventListener("input", () => this.show());
    form.addEventListener("change", (event) => {
      if ((event.target as HTMLInputElement).type === "radio") {
        tell(form.querySelector<HTMLElement>(".row > [role=status]"), "", false); // it was said of something else
      }
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    this.show();
  }

  /** Fills in where an answer goes. */
  answerTo(subject: string): void {
    this.#choose("publish");
    input("subject").value = subject;
    this.show();
    byId("payload", HTMLTextAreaElement).focus();
  }

  /** Takes a message for the next one. */
  reuse(m: Message): void {
    this.#choose("publish");
    input("subject").value = m.subject;
    byId("payload", HTMLTextAreaElement).value = asText(m.bytes) ?? "";
    byId("headers", HTMLTextAreaElement).value = Object.entries(m.headers).flatMap(([name, values]) => [values].flat().map((v) => `${name}: ${v}`)).join("\n");
    this.show();
    input("subject").focus();
  }

  #choose(verb: Verb): void {
    byId("send", HTMLFormElement).querySelector<HTMLInputElement>(`input[name="verb"][value="${verb}"]`)!.checked = true;
  }

  #door(): Door {
    return picked("door") as Door;
  }

  #draft(): Draft {
    const verb = picked("verb") as Verb;
    return { verb, subject: input("subject").value.trim(), payload: byId("payload", HTMLTextAreaElement).value, headers: parseHeaders(byId("headers", HTMLTextAreaElement).value) };
  }

  /** Whether this page can do it itself; at other doors it tells the command. */
  #speaks(door: Door, verb: Verb): boolean {
    return door === "WebSocket" || (door === "HTTP" && (verb === "publish" || verb === "request" || verb === "append"));
  }

  /** Fits the form and the snippets to what is chosen. */
  show(): void {
    const verb = picked("verb") as Verb;
    const [field, action] = labels[verb];
    byId("subject-label", HTMLElement).textContent = field;
    byId("body", HTMLElement).hidden = verb === "subscribe" || verb === "consume";
    button("run").textContent = this.#speaks(this.#door(), verb) ? action : "Copy the command";
    this.#showSnippets();
  }

  #showSnippets(): void {
    const box = byId("snippets", HTMLElement);
    let all;
    try {
      all = snippets(this.#door(), this.#draft(), this.place());
    } catch (error) {
      box.replaceChildren(h("p", { class: "note" }, (error as Error).message));
      return;
    }
    button("run").disabled = all.length === 0;
    const closed = this.place().ports[this.#door() === "WebSocket" ? "http" : this.#door().toLowerCase()] === undefined;
    if (all.length === 0) {
      box.replaceChildren(h("p", { class: "note" }, closed ? "This door is closed." : "The usual tools of this door cannot do that."));
      return;
    }
    box.replaceChildren(
      ...all.map(({ tool, text }) => {
        const copy: HTMLButtonElement = h("button", { type: "button", class: "copy", "aria-label": `Copy for ${tool}`, onclick: () => void this.#copy(copy, text) }, "Copy");
        return h("div", { class: "snippet" }, h("div", { class: "title" }, h("h3", {}, tool), copy), h("pre", { tabindex: "0", "aria-label": tool }, text));
      }),
    );
  }

  async #copy(pressed: HTMLButtonElement, text: string): Promise<void> {
    await toClipboard(text);
    pressed.textContent = "Copied";
    setTimeout(() => (pressed.textContent = "Copy"), 2000);
  }

  async #run(): Promise<string> {
    const draft = this.#draft();
    const door = this.#door();
    this.#answer.hidden = true;
    if (!this.#speaks(door, draft.verb)) {
      await toClipboard(snippets(door, draft, this.place())[0]!.text);
      return "Copied: run it in a terminal.";
    }
    return door === "HTTP" ? this.#http(draft) : this.#socket(draft);
  }

  async #socket({ verb, subject, payload, headers }: Draft): Promise<string> {
    const options = headers.length > 0 ? { headers: grouped(headers) } : {};
    switch (verb) {
      case "publish": {
        const { queues, live, stream, seq } = await this.connection().publish(subject, payload, options);
        return heard(queues, live, stream, seq);
      }
      case "request": {
        const began = performance.now();
        const answer = await this.connection().request(subject, payload, { ...options, timeout: requestTimeout });
        const took = performance.now() - began;
        this.#showAnswer(answer);
        return `Answered in ${took.toFixed(1)} ms.`;
      }
      case "append":
        await this.connection().queue(subject).append(payload, options);
        return "Kept.";
      case "subscribe":
        return (await this.others.subscribe(subject)) || "Listening: see Live.";
      case "consume":
        return this.others.consume(subject);
    }
  }

  async #http({ verb, subject, payload, headers }: Draft): Promise<string> {
    const path = { publish: `publish/${encodeURIComponent(subject)}`, request: `request/${encodeURIComponent(subject)}?timeout=5s`, append: `queues/${encodeURIComponent(subject)}/messages` }[verb as "publish"];
    const sent = new Headers({ "Content-Type": "text/plain", ...this.authorization() });
    for (const [name, value] of headers) {
      const bare = /^(content-type|content-encoding|traceparent|tracestate|baggage|(portico|ce|nats)-.*)$/i.test(name);
      bare ? sent.set(name, value) : sent.append(`Msg-${name}`, value);
    }
    const began = performance.now();
    const r = await fetch(new URL(`v1/${path}`, document.baseURI), { method: "POST", body: payload, headers: sent });
    const body = new Uint8Array(await r.arrayBuffer());
    if (!r.ok) {
      const problem = JSON.parse(asText(body) || "{}");
      throw new Error(`${r.status} ${problem.code ?? ""} ${problem.detail ?? ""}`.trim());
    }
    const took = ` HTTP ${r.status} in ${(performance.now() - began).toFixed(1)} ms.`;
    if (verb === "request") {
      this.#showAnswer({ bytes: body, headers: Object.fromEntries(r.headers), reply: "" } as Message);
      return "Answered." + took;
    }
    if (verb === "append") {
      return "Kept." + took;
    }
    const told = JSON.parse(asText(body) || "{}");
    return heard(told.queues ?? 0, told.live === true, told.stream, told.sequence ?? told.seq) + took;
  }

  #showAnswer(m: Message): void {
    this.#answer.replaceChildren(h("h3", {}, "Answer"), ...inspect(m));
    this.#answer.hidden = false;
  }
}

function heard(queues: number, live: boolean, stream: string | undefined, seq: number | undefined): string {
  const said = [
    queues === 0 ? "" : `kept by ${queues} queue${queues === 1 ? "" : "s"}`,
    stream ? `kept by the stream ${stream} as ${seq}` : "",
    live ? "heard by a subscriber" : "",
  ].filter((s) => s !== "");
  return `Published: ${said.join(", ") || "nobody listens"}.`;
}

/** Headers as one writes them: a line each, name: value. */
function parseHeaders(text: string): [string, string][] {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const colon = line.indexOf(":");
      if (colon < 1) {
        throw new Error(`Headers: "${line.trim()}" is not of the form name: value`);
      }
      return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
    });
}

/** Browsers have a clipboard only on secure pages; elsewhere a selected field has to do. */
async function toClipboard(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const focused = document.activeElement as HTMLElement | null;
    const field = h("textarea", { class: "hidden" });
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    focused?.focus();
  }
}
