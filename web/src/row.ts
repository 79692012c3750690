// How one message looks, in the live feed and in a queue.

import { h } from "./dom";
import { asText, type Header, type Message } from "./frames";

const previewLength = 160; // characters of payload in the closed row
const detailLength = 64 * 1024; // characters of payload in the open row

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });

/** A row that opens to headers and payload. The inside is built when it is opened first: most never are. */
export function messageRow(m: Message, ...actions: HTMLElement[]): HTMLElement {
  const details = h(
    "details",
    {},
    h(
      "summary",
      {},
      h("time", {}, clock.format(new Date())),
      h("span", { class: "subject" }, m.subject === "" ? "(no subject)" : m.subject),
      h("span", { class: "size" }, size(m.payload.length)),
      h("span", { class: "preview" }, preview(m.payload)),
    ),
  );
  details.addEventListener("toggle", () => details.childElementCount === 1 && details.append(...inside(m)), { once: true });
  return h("li", {}, details, ...(actions.length > 0 ? [h("div", { class: "actions" }, ...actions)] : []));
}

function inside(m: Message): HTMLElement[] {
  const rows = Object.entries(m.headers).flatMap(([name, values]) => lines(values).map((v) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, v))));
  if (m.reply !== "") {
    rows.unshift(h("tr", {}, h("th", { scope: "row" }, "answer to"), h("td", {}, m.reply)));
  }
  const table = rows.length > 0 ? [h("table", {}, h("tbody", {}, ...rows))] : [];
  return [...table, h("pre", { tabindex: "0" }, readable(m.payload))];
}

const lines = (values: Header[string]) => (Array.isArray(values) ? values : [values]);

function preview(payload: Uint8Array): string {
  const text = asText(payload);
  return text === undefined ? "binary" : text.slice(0, previewLength);
}

/** JSON indented, other text as it is, anything else as hexadecimal. */
export function readable(payload: Uint8Array): string {
  const text = asText(payload);
  if (text === undefined) {
    return cut(Array.from(payload.subarray(0, detailLength / 3), (b) => b.toString(16).padStart(2, "0")).join(" "));
  }
  try {
    return cut(JSON.stringify(JSON.parse(text), null, 2));
  } catch {
    return cut(text);
  }
}

const cut = (text: string) => (text.length > detailLength ? text.slice(0, detailLength) + " …" : text);

function size(n: number): string {
  return n < 1024 ? `${n} B` : n < 1 << 20 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / (1 << 20)).toFixed(1)} MiB`;
}
