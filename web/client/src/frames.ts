// What travels, and how payloads are put into it.

import type { Codec, Headers, Payload } from "../portico";

/** A frame in either direction. Which fields are set depends on op. */
export interface Frame {
  op: string;
  id?: string;
  sid?: string;
  [field: string]: any;
}

/** What an encoded frame is. */
export type Wire = string | Uint8Array;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export const bytesOf = (data: string | Uint8Array | undefined): Uint8Array => (typeof data === "string" ? encoder.encode(data) : (data ?? new Uint8Array()));
export const textOf = (data: string | Uint8Array | undefined): string => (typeof data === "string" ? data : decoder.decode(data));

/** The subprotocol of text: one JSON object for each frame, bytes as base64. */
export const json: Codec = {
  protocol: "portico.v1.json",
  encode: (frame) => JSON.stringify(frame["data"] instanceof Uint8Array ? { ...frame, data: undefined, data_base64: toBase64(frame["data"]) } : frame),
  join: (wires) => `[${wires.join()}]`,
  decode: (message) => {
    const read: unknown = JSON.parse(message as string);
    for (const f of Array.isArray(read) ? read : [read]) {
      if (f.data_base64) {
        f.data = Uint8Array.from(atob(f.data_base64), (c) => c.charCodeAt(0));
      }
    }
    return read;
  },
};

function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let i = 0; i < bytes.length; i += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  }
  return btoa(binary);
}

/** The fields of a frame that carry a payload and headers. What is neither text nor bytes becomes JSON, and says so. */
export function body(data: Payload, headers: Headers | undefined): { data?: string | Uint8Array; headers?: Headers | undefined } {
  if (data === undefined || typeof data === "string") {
    return { data: data ?? "", headers };
  }
  if (data instanceof ArrayBuffer) {
    return { data: new Uint8Array(data), headers };
  }
  if (ArrayBuffer.isView(data)) {
    return { data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength), headers };
  }
  const named = Object.keys(headers ?? {}).some((name) => name.toLowerCase() === "content-type");
  return { data: JSON.stringify(data), headers: named ? headers : { ...headers, "Content-Type": "application/json" } };
}

const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds of a duration such as "1m30s"; 0 if it is none. */
export const milliseconds = (text: unknown): number =>
  [...String(text).matchAll(/([\d.]+)(ms|s|m|h)/g)].reduce((sum, [, n, unit]) => sum + Number(n) * units[unit as string]!, 0);

/** A duration as frames have it. */
export const term = (ms: number | undefined): string | undefined => (ms === undefined ? undefined : `${Math.max(1, Math.round(ms))}ms`);
