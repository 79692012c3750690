// As much of an OpenAPI document as the reference shows, and how it shows schemas.

import { h } from "./dom";

export interface Schema {
  $ref?: string;
  type?: string | string[];
  description?: string;
  enum?: unknown[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  anyOf?: Schema[];
  minimum?: number;
  maximum?: number;
  contentEncoding?: string;
  examples?: unknown[];
}

export interface Media {
  schema?: Schema;
  example?: unknown;
}

export interface Parameter {
  name: string;
  in: string;
  description?: string;
  required?: boolean;
  schema?: Schema;
  example?: unknown;
}

export interface Answer {
  $ref?: string;
  description: string;
  headers?: Record<string, { description?: string; schema?: Schema }>;
  content?: Record<string, Media>;
}

export interface Operation {
  operationId: string;
  tags?: string[];
  summary?: string;
  description?: string;
  parameters?: Parameter[];
  requestBody?: { description?: string; content: Record<string, Media> };
  responses: Record<string, Answer>;
}

export interface Document {
  info: { version: string; description?: string };
  tags?: { name: string; description?: string }[];
  paths: Record<string, Partial<Record<"get" | "head" | "post" | "put" | "patch" | "delete" | "options", Operation>>>;
  components?: { schemas?: Record<string, Schema>; responses?: Record<string, Answer> };
}

/** One line of a table of parameters or fields. */
export interface Row {
  name: string;
  note: string;
  text: string;
  schema: Schema | undefined;
}

const refPrefix = "#/components/schemas/";

function resolve(doc: Document, schema: Schema): { name: string; schema: Schema } {
  if (schema.$ref?.startsWith(refPrefix) !== true) {
    return { name: "", schema };
  }
  const name = schema.$ref.slice(refPrefix.length);
  return { name, schema: doc.components?.schemas?.[name] ?? {} };
}

/** An answer that operations may share. */
export function shared(doc: Document, answer: Answer): Answer {
  const name = answer.$ref?.split("/").pop();
  return (name === undefined ? undefined : doc.components?.responses?.[name]) ?? answer;
}

/** A schema in a few words, such as "array of Queue". */
function words(doc: Document, schema: Schema | undefined): string {
  if (schema === undefined) {
    return "any bytes";
  }
  const { name, schema: s } = resolve(doc, schema);
  if (name !== "") {
    return name;
  }
  if (s.anyOf !== undefined) {
    return s.anyOf.map((one) => words(doc, one)).join(" or ");
  }
  const type = [s.type ?? "anything"].flat().join(" or ");
  const more = [
    s.items === undefined ? "" : ` of ${words(doc, s.items)}`,
    s.enum === undefined ? "" : `: ${s.enum.join(", ")}`,
    s.minimum === undefined ? "" : ` from ${s.minimum}`,
    s.maximum === undefined ? "" : ` to ${s.maximum}`,
    s.contentEncoding === undefined ? "" : ` in ${s.contentEncoding}`,
  ];
  return type + more.join("");
}

/** The schema of which a value's fields are: its own, or its items'. */
function fields(doc: Document, schema: Schema | undefined): Schema | undefined {
  if (schema === undefined) {
    return undefined;
  }
  const s = resolve(doc, schema).schema;
  if (s.properties !== undefined) {
    return s;
  }
  return s.items === undefined ? undefined : fields(doc, s.items);
}

/** A table of parameters or fields. What has fields of its own unfolds them. */
export function rows(doc: Document, all: Row[]): HTMLElement {
  const body = h("tbody");
  for (const row of all) {
    const inner = fields(doc, row.schema);
    const kind = h("td", {}, words(doc, row.schema));
    if (inner !== undefined) {
      const more = h("details", {}, h("summary", {}, "fields"));
      more.addEventListener("toggle", () => {
        if (more.open && more.childElementCount === 1) {
          more.append(table(doc, inner));
        }
      });
      kind.append(more);
    }
    body.append(h("tr", {}, h("th", { scope: "row" }, h("code", {}, row.name)), h("td", {}, row.note), kind, h("td", {}, row.text)));
  }
  return h("div", { class: "wide" }, h("table", {}, body));
}

function table(doc: Document, schema: Schema): HTMLElement {
  return rows(doc, Object.entries(schema.properties ?? {}).map(([name, s]) => ({
    name, note: schema.required?.includes(name) === true ? "always" : "", text: s.description ?? "", schema: s,
  })));
}

/** The forms that a body may have. */
export function bodies(doc: Document, content: Record<string, Media>): HTMLElement {
  const box = h("div");
  for (const [type, media] of Object.entries(content)) {
    box.append(h("p", {}, h("code", {}, type), " ", words(doc, media.schema)));
    const inner = fields(doc, media.schema);
    if (inner !== undefined) {
      box.append(table(doc, inner));
    }
    if (media.example !== undefined) {
      box.append(h("pre", { tabindex: "0", "aria-label": "Example" }, JSON.stringify(media.example, null, 2)));
    }
  }
  return box;
}
