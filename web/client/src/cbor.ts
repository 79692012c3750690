// The binary subprotocol: the same frames as CBOR (RFC 8949), payloads as byte strings.

import type { Codec } from "../portico";
import { bytesOf } from "./frames";

const deepest = 32; // arrays and maps inside each other

export const cbor: Codec = {
  protocol: "portico.v1.cbor",
  encode: (frame) => {
    const w = new Writer();
    w.value(typeof frame["data"] === "string" ? { ...frame, data: bytesOf(frame["data"]) } : frame, deepest);
    return w.done();
  },
  join: (frames) => {
    const w = new Writer();
    w.head(4, frames.length);
    for (const f of frames) {
      w.raw(f as Uint8Array);
    }
    return w.done();
  },
  decode: (message) => {
    if (typeof message === "string") {
      throw new Error("text where binary is spoken");
    }
    const r = new Reader(new Uint8Array(message));
    const v = r.value(deepest);
    if (r.left > 0) {
      throw new Error("something follows the value");
    }
    return v;
  },
};

class Writer {
  #bytes = new Uint8Array(256);
  #at = 0;

  done(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }

  #room(n: number): DataView {
    if (this.#at + n > this.#bytes.length) {
      const more = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + n));
      more.set(this.#bytes);
      this.#bytes = more;
    }
    return new DataView(this.#bytes.buffer, this.#at);
  }

  raw(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  head(major: number, n: number): void {
    const view = this.#room(9);
    const kind = major << 5;
    if (n < 24) {
      view.setUint8(0, kind | n);
      this.#at++;
    } else if (n < 0x100) {
      view.setUint16(0, ((kind | 24) << 8) | n);
      this.#at += 2;
    } else if (n < 0x10000) {
      view.setUint8(0, kind | 25);
      view.setUint16(1, n);
      this.#at += 3;
    } else if (n < 0x100000000) {
      view.setUint8(0, kind | 26);
      view.setUint32(1, n);
      this.#at += 5;
    } else {
      view.setUint8(0, kind | 27);
      view.setBigUint64(1, BigInt(n));
      this.#at += 9;
    }
  }

  value(v: any, depth: number): void {
    if (depth < 0) {
      throw new RangeError("it is nested too deeply");
    }
    if (typeof v === "number") {
      this.#number(v);
    } else if (typeof v === "string") {
      const bytes = bytesOf(v);
      this.head(3, bytes.length);
      this.raw(bytes);
    } else if (v instanceof Uint8Array) {
      this.head(2, v.length);
      this.raw(v);
    } else if (Array.isArray(v)) {
      this.head(4, v.length);
      v.forEach((item) => this.value(item, depth - 1));
    } else if (v !== null && typeof v === "object") {
      const fields = Object.entries(v).filter(([, field]) => field !== undefined);
      this.head(5, fields.length);
      for (const [name, field] of fields) {
        this.value(name, depth);
        this.value(field, depth - 1);
      }
    } else {
      this.head(7, v === true ? 21 : v === false ? 20 : 22);
    }
  }

  #number(v: number): void {
    if (Number.isSafeInteger(v)) {
      return v < 0 ? this.head(1, -1 - v) : this.head(0, v);
    }
    const view = this.#room(9);
    view.setUint8(0, 0xfb);
    view.setFloat64(1, v);
    this.#at += 9;
  }
}

class Reader {
  #view: DataView;
  #at = 0;

  constructor(private readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get left(): number {
    return this.bytes.length - this.#at;
  }

  #take(n: number): number {
    if (n > this.left) {
      throw new RangeError("the message ends too early");
    }
    const at = this.#at;
    this.#at += n;
    return at;
  }

  /** The number behind a head's first byte. */
  #size(info: number): number {
    if (info < 24) {
      return info;
    }
    switch (info) {
      case 24:
        return this.#view.getUint8(this.#take(1));
      case 25:
        return this.#view.getUint16(this.#take(2));
      case 26:
        return this.#view.getUint32(this.#take(4));
      case 27:
        return Number(this.#view.getBigUint64(this.#take(8)));
    }
    throw new RangeError("lengths must be told");
  }

  value(depth: number): any {
    if (depth < 0) {
      throw new RangeError("it is nested too deeply");
    }
    const first = this.#view.getUint8(this.#take(1));
    const major = first >> 5;
    if (major === 7) {
      return this.#simple(first & 31);
    }
    const n = this.#size(first & 31);
    switch (major) {
      case 0:
        return n;
      case 1:
        return -1 - n;
      case 2:
        return this.bytes.subarray(this.#take(n), this.#at);
      case 3:
        return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.bytes.subarray(this.#take(n), this.#at));
      case 6:
        return this.value(depth - 1);
    }
    if (n > this.left) {
      throw new RangeError("the message ends too early"); // each item takes a byte at least
    }
    return major === 4 ? Array.from({ length: n }, () => this.value(depth - 1)) : this.#map(n, depth - 1);
  }

  #map(n: number, depth: number): Record<string, unknown> {
    const fields: [string, unknown][] = [];
    for (let i = 0; i < n; i++) {
      fields.push([String(this.value(depth)), this.value(depth)]);
    }
    return Object.fromEntries(fields);
  }

  #simple(info: number): any {
    switch (info) {
      case 20:
        return false;
      case 21:
        return true;
      case 25:
        return half(this.#view.getUint16(this.#take(2)));
      case 26:
        return this.#view.getFloat32(this.#take(4));
      case 27:
        return this.#view.getFloat64(this.#take(8));
    }
    return null;
  }
}

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) {
    return fraction ? NaN : sign * Infinity;
  }
  return sign * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
}
