import type { PorticoError as Declared } from "../portico";
import type { Frame } from "./frames";

const passing = ["unavailable", "timeout", "resource-exhausted", "no-responders", "connection-lost"];

export class PorticoError extends Error implements Declared {
  declare readonly revision?: number;

  constructor(
    readonly code: string,
    detail = "",
  ) {
    super(detail === "" ? code : `${code}: ${detail}`);
    this.name = "PorticoError";
  }

  get retryable(): boolean {
    return passing.includes(this.code);
  }
}

/** The error that a frame tells. */
export const told = (f: Frame): PorticoError => Object.assign(new PorticoError(f["code"] ?? "internal", f["detail"]), f["revision"] === undefined ? {} : { revision: f["revision"] });

export const lost = (why = "the connection broke"): PorticoError => new PorticoError("connection-lost", why);
