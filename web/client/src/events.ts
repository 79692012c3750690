/** Listeners by event. One that throws stops nobody else. */
export class Events {
  #all: Record<string, Set<(event: any) => void>> = {};

  on(name: string, listener: (event: any) => void): () => void {
    const set = (this.#all[name] ??= new Set());
    set.add(listener);
    return () => set.delete(listener);
  }

  tell(name: string, event: unknown): void {
    for (const listener of this.#all[name] ?? []) {
      try {
        listener(event);
      } catch (thrown) {
        setTimeout(() => {
          throw thrown; // as an uncaught error of its own, as browsers do it
        });
      }
    }
  }
}

/** Calls work when a signal is aborted, at once if it is already; returns what ends that. */
export function whenAborted(signal: AbortSignal | undefined, work: () => void): () => void {
  if (signal?.aborted) {
    work();
  }
  signal?.addEventListener("abort", work, { once: true });
  return () => signal?.removeEventListener("abort", work);
}

/** A promise and what settles it. Nobody has to look at its rejection. */
export function settled<T>(): { promise: Promise<T>; resolve: (v: T) => void; reject: (e: unknown) => void } {
  let resolve!: (v: T) => void;
  let reject!: (e: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  promise.catch(() => {});
  return { promise, resolve, reject };
}
