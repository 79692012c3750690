// Keys that lead somewhere at once. Letters count only outside of fields, and can be turned off for those whose tools press them.

import { button, byId, input } from "./dom";

const kept = "portico-keys";

/** What the keys do. */
export interface Ways {
  subject(): void;
  pattern(): void;
  pause(): void;
  clear(): void;
}

/** Listens to the keys s, /, p, c and ?, the last of which shows them. */
export function shortcuts(ways: Ways): void {
  const help = byId("help", HTMLDialogElement);
  const single = input("single-keys");
  single.checked = localStorage.getItem(kept) !== "off";
  single.addEventListener("change", () => localStorage.setItem(kept, single.checked ? "on" : "off"));
  button("show-help").addEventListener("click", () => help.showModal());
  const does: Record<string, () => void> = { s: ways.subject, "/": ways.pattern, p: ways.pause, c: ways.clear, "?": () => help.showModal() };
  document.addEventListener("keydown", (event) => {
    const work = does[event.key];
    const typing = (event.target as HTMLElement).closest("input:not([type=radio], [type=checkbox]), textarea, select, dialog, #deliveries");
    if (work && single.checked && !typing && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      work();
    }
  });
}
