// The reference: the gateway's own OpenAPI document as a page. It asks for nothing else, and sets text as text only.

import { byId, h, input } from "./dom";
import { bodies, rows, shared, type Document, type Operation } from "./schema";

const methods = ["get", "head", "post", "put", "patch", "delete", "options"] as const;

/** An operation with its place. */
interface Place {
  method: string;
  path: string;
  operation: Operation;
}

function places(doc: Document): Place[] {
  return Object.entries(doc.paths).flatMap(([path, item]) =>
    methods.flatMap((method) => {
      const operation = item[method];
      return operation === undefined ? [] : [{ method, path, operation }];
    }),
  );
}

/** Text in which what stands between backticks is code. */
export function prose(text: string): HTMLElement {
  const p = h("p");
  text.split("`").forEach((part, i) => p.append(i % 2 === 1 ? h("code", {}, part) : part));
  return p;
}

/** The command line that does it, as far as it can be told. */
function curl({ method, path, operation }: Place): string {
  let address = path;
  const query: string[] = [];
  for (const p of operation.parameters ?? []) {
    const example = String(Array.isArray(p.example) ? p.example[0] : (p.example ?? p.name));
    if (p.in === "path") {
      address = address.replace(`{${p.name}}`, encodeURIComponent(example));
    } else if (p.in === "query" && p.required === true) {
      query.push(`${p.name}=${encodeURIComponent(example)}`);
    }
  }
  const url = `${location.origin}${address}${query.length > 0 ? "?" + query.join("&") : ""}`;
  const media = Object.entries(operation.requestBody?.content ?? {})[0];
  const body = media === undefined ? "" : ` -d '${media[1].example === undefined ? "hello" : JSON.stringify(media[1].example)}'`;
  const type = media?.[0] === "application/json" ? " -H 'Content-Type: application/json'" : "";
  return `curl -X ${method.toUpperCase()}${type}${body} '${url}'`;
}

function show(doc: Document, place: Place): HTMLElement {
  const { method, path, operation } = place;
  const box = h("details", { id: operation.operationId, class: "operation" },
    h("summary", {}, h("b", { class: `method ${method}` }, method.toUpperCase()), " ", h("code", {}, path), " ", operation.summary ?? ""));
  // What is folded away is made when it is opened: there are many.
  box.addEventListener("toggle", () => {
    if (box.open && box.childElementCount === 1) {
      fill(doc, place, box);
    }
  });
  return box;
}

function fill(doc: Document, place: Place, box: HTMLElement): void {
  const { operation } = place;
  if (operation.description !== undefined) {
    box.append(prose(operation.description));
  }
  box.append(h("pre", { tabindex: "0", "aria-label": "Command line" }, curl(place)));
  const parameters = operation.parameters ?? [];
  if (parameters.length > 0) {
    box.append(h("h4", {}, "Parameters"), rows(doc, parameters.map((p) =>
      ({ name: p.name, note: `${p.in}${p.required === true ? ", required" : ""}`, text: p.description ?? "", schema: p.schema }))));
  }
  if (operation.requestBody !== undefined) {
    box.append(h("h4", {}, "Body"), prose(operation.requestBody.description ?? ""), bodies(doc, operation.requestBody.content));
  }
  box.append(h("h4", {}, "Answers"));
  for (const [status, at] of Object.entries(operation.responses)) {
    const answer = shared(doc, at);
    const one = h("details", { class: status < "400" ? "good" : "bad", open: status < "300" }, h("summary", {}, h("b", {}, status), " ", answer.description));
    const headers = Object.entries(answer.headers ?? {});
    if (headers.length > 0) {
      one.append(rows(doc, headers.map(([name, x]) => ({ name, note: "header", text: x.description ?? "", schema: x.schema }))));
    }
    one.append(bodies(doc, answer.content ?? {}));
    box.append(one);
  }
}

/** Hides what does not hold every word of the filter. */
function filter(boxes: [HTMLElement, string][], wanted: string): void {
  const words = wanted.toLowerCase().split(/\s+/).filter((w) => w !== "");
  for (const [box, text] of boxes) {
    box.hidden = !words.every((w) => text.includes(w));
  }
  for (const section of document.querySelectorAll<HTMLElement>("main > section")) {
    section.hidden = section.querySelector("details.operation:not([hidden])") === null;
  }
}

function render(doc: Document): void {
  byId("version", HTMLElement).textContent = doc.info.version;
  byId("about", HTMLElement).textContent = doc.info.description ?? "";
  const boxes: [HTMLElement, string][] = [];
  const all = places(doc);
  for (const tag of doc.tags ?? []) {
    const section = h("section", {}, h("h2", { id: `tag-${tag.name}` }, tag.name), prose(tag.description ?? ""));
    for (const place of all.filter((p) => p.operation.tags?.includes(tag.name) === true)) {
      const box = show(doc, place);
      const { operationId, summary, description } = place.operation;
      boxes.push([box, [place.method, place.path, operationId, summary, description].join(" ").toLowerCase()]);
      section.append(box);
    }
    byId("operations", HTMLElement).append(section);
  }
  const field = input("filter");
  field.addEventListener("input", () => filter(boxes, field.value));
  reveal();
  addEventListener("hashchange", reveal);
}

/** Opens what the address names. */
function reveal(): void {
  const box = document.getElementById(location.hash.slice(1));
  if (box instanceof HTMLDetailsElement) {
    box.open = true;
    box.scrollIntoView();
  }
}

fetch("../v1/openapi.json")
  .then(async (answer) => {
    if (!answer.ok) {
      throw new Error(`the gateway answers ${answer.status}`);
    }
    render((await answer.json()) as Document);
  })
  .catch((failure: unknown) => {
    const about = byId("about", HTMLElement);
    about.textContent = `The document cannot be read: ${failure instanceof Error ? failure.message : String(failure)}`;
    about.classList.add("failed");
  });
