// The frames of the subprotocol portico.v1.json, as docs/websocket.md describes them, and how payloads travel in them.

export const subprotocol = "portico.v1.json";

/** Header values: one line, or several. */
export type Header = Record<string, string | string[]>;

/** A frame in either direction. Which fields are set depends on op. */
export interface Frame {
  op: string;
  id?: string;
  [field: string]: unknown;
}

/** What every message carries, whichever frame it comes in. */
export interface Message {
  subject: string;
  reply: string;
  headers: Header;
  payload: Uint8Array;
}

/** Puts a payload into a frame: as text if it is text, as base64 if not. */
export function withPayload(frame: Frame, payload: Uint8Array): Frame {
  const text = asText(payload);
  return text === undefined ? { ...frame, data_base64: toBase64(payload) } : { ...frame, data: text };
}

/** Takes the message out of a msg, res or delivery frame. */
export function messageOf(frame: Frame): Message {
  return {
    subject: textField(frame, "subject"),
    reply: textField(frame, "reply"),
    headers: isHeader(frame["headers"]) ? frame["headers"] : {},
    payload: payloadOf(frame),
  };
}

export function textField(frame: Frame, name: string): string {
  const v = frame[name];
  return typeof v === "string" ? v : "";
}

export function numberField(frame: Frame, name: string): number {
  const v = frame[name];
  return typeof v === "number" ? v : 0;
}

function payloadOf(frame: Frame): Uint8Array {
  const base64 = textField(frame, "data_base64");
  return base64 === "" ? new TextEncoder().encode(textField(frame, "data")) : fromBase64(base64);
}

function isHeader(v: unknown): v is Header {
  return typeof v === "object" && v !== null && !Array.isArray(v);
}

/** The payload as text, undefined if it is not UTF-8. */
export function asText(payload: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(payload);
  } catch {
    return undefined;
  }
}

function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let i = 0; i < bytes.length; i += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  }
  return btoa(binary);
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}
