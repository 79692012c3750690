// How one message looks: a row that opens to its headers and its payload, as a tree of JSON, as text or as bytes.

import type { Message } from "../client/portico";
import { h } from "./dom";

const previewLength = 160; // characters of payload in a closed row
const textLength = 64 * 1024; // characters of text shown
const hexLength = 4096; // bytes shown as such
const branchLength = 100; // items of an array, or fields of an object, shown
const stringLength = 2000; // characters of a string in a tree

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });

/** A row with what one can do at once. The inside, with what one can do then, is built when it is opened first: most rows never are. */
export function messageRow(m: Message, actions: HTMLElement[], then: () => HTMLElement[] = () => []): HTMLElement {
  const where = m.seq === undefined ? "" : `${m.stream} #${m.seq}`;
  const details = h(
    "details",
    {},
    h(
      "summary",
      {},
      h("time", {}, clock.format(new Date())),
      h("span", { class: "subject" }, m.subject === "" ? "(no subject)" : m.subject),
      ...(where === "" ? [] : [h("span", { class: "size" }, where)]),
      h("span", { class: "size" }, size(m.bytes.length)),
      h("span", { class: "preview" }, preview(m)),
    ),
  );
  details.addEventListener("toggle", () => details.childElementCount === 1 && details.append(...inspect(m), h("div", { class: "actions" }, ...then())), { once: true });
  return h("li", {}, details, ...(actions.length > 0 ? [h("div", { class: "actions" }, ...actions)] : []));
}

/** A message's headers and payload. */
export function inspect(m: Message): HTMLElement[] {
  const rows = Object.entries(m.headers).flatMap(([name, values]) => [values].flat().map((v) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, v))));
  if (m.reply !== "") {
    rows.unshift(h("tr", {}, h("th", { scope: "row" }, "answer to"), h("td", {}, m.reply)));
  }
  const table = rows.length === 0 ? [] : [h("table", {}, h("caption", {}, "Headers"), h("tbody", {}, ...rows))];
  return [...table, ...payload(m)];
}

/** The payload with a choice of views; the first that fits is shown. */
function payload(m: Message): HTMLElement[] {
  const text = asText(m.bytes);
  const value = text === undefined ? undefined : parsed(text);
  const box = h("div", { class: "payload", tabindex: "0", role: "region", "aria-label": "Payload" });
  const views: [string, () => HTMLElement][] = [["Bytes", () => h("pre", {}, hex(m.bytes))]];
  if (text !== undefined) {
    views.unshift(["Text", () => h("pre", {}, cut(text, textLength))]);
  }
  if (value !== undefined) {
    views.unshift(["JSON", () => tree(value.json, "", true)]);
  }
  const group = `view-${crypto.randomUUID()}`;
  const radios = views.map(([name, show], i) => {
    const radio = h("input", { type: "radio", name: group, checked: i === 0, onchange: () => box.replaceChildren(show()) });
    return h("label", {}, radio, name);
  });
  box.append(views[0]![1]());
  return [h("fieldset", { class: "segments small" }, h("legend", { class: "hidden" }, "Show the payload as"), ...radios), box];
}

function parsed(text: string): { json: unknown } | undefined {
  try {
    return /^\s*[[{]/.test(text) ? { json: JSON.parse(text) } : undefined;
  } catch {
    return undefined;
  }
}

/** A value as a tree. What is inside something is built when that is opened, so that a large document costs no more than what one looks at. */
function tree(value: unknown, name: string, open: boolean): HTMLElement {
  const label = name === "" ? [] : [h("span", { class: "key" }, name), ": "];
  if (typeof value !== "object" || value === null) {
    const text = typeof value === "string" ? JSON.stringify(cut(value, stringLength)) : String(value);
    return h("div", { class: "leaf" }, ...label, h("span", { class: value === null ? "null" : typeof value }, text));
  }
  const list = Array.isArray(value);
  const items = Object.entries(value);
  const count = `${items.length} ${list ? "item" : "field"}${items.length === 1 ? "" : "s"}`;
  const branch = h("details", { class: "branch" }, h("summary", {}, ...label, list ? "[ " : "{ ", h("span", { class: "null" }, count), list ? " ]" : " }"));
  const fill = () => {
    branch.append(...items.slice(0, branchLength).map(([key, item]) => tree(item, key, false)));
    if (items.length > branchLength) {
      branch.append(h("div", { class: "null leaf" }, `and ${items.length - branchLength} more; the text has them`));
    }
  };
  branch.addEventListener("toggle", fill, { once: true });
  branch.open = open;
  return branch;
}

/** Bytes as hexadecimal and as what of them is ASCII, sixteen to a line. */
function hex(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < Math.min(bytes.length, hexLength); at += 16) {
    const line = [...bytes.subarray(at, at + 16)];
    const digits = line.map((b) => b.toString(16).padStart(2, "0")).join(" ");
    const signs = line.map((b) => (b > 31 && b < 127 ? String.fromCharCode(b) : ".")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${digits.padEnd(47)}  ${signs}`);
  }
  return lines.join("\n") + (bytes.length > hexLength ? `\nand ${bytes.length - hexLength} bytes more` : "");
}

/** The payload as text, undefined if it is not UTF-8. */
export function asText(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function preview(m: Message): string {
  const text = asText(m.bytes.subarray(0, previewLength * 4)) ?? asText(m.bytes);
  return text === undefined ? "binary" : text.slice(0, previewLength);
}

const cut = (text: string, most: number) => (text.length > most ? text.slice(0, most) + " …" : text);

function size(n: number): string {
  return n < 1024 ? `${n} B` : n < 1 << 20 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / (1 << 20)).toFixed(1)} MiB`;
}
