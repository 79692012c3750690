import type { Codec } from "./portico.js";

/** The binary encoding: the same frames as CBOR, with payloads as they are. Give it to `connect` as `codec`. */
export declare const cbor: Codec;
