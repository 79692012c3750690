// The few words of DOM that the page needs. Text is always set as text, never as HTML.

type Child = Node | string;

/** Makes an element. Attributes that are false are left out; those that start with "on" are listeners. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string | boolean | (() => void)> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      e.addEventListener(name.slice(2), value);
    } else if (value !== false) {
      e.setAttribute(name, value === true ? "" : value);
    }
  }
  e.append(...children);
  return e;
}

/** The element with this id. The page and the code are built together, so it is there. */
export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const e = document.getElementById(id);
  if (!(e instanceof type)) {
    throw new Error(`the page has no ${type.name} #${id}`);
  }
  return e;
}

export const input = (id: string) => byId(id, HTMLInputElement);
export const button = (id: string) => byId(id, HTMLButtonElement);
export const select = (id: string) => byId(id, HTMLSelectElement);

/** The chosen one of the radio buttons with this name. */
export const picked = (name: string) => document.querySelector<HTMLInputElement>(`input[name="${name}"]:checked`)?.value ?? "";

/** Runs a form's work instead of sending it, and shows how it ended beside it. */
export function onSubmit(id: string, work: (submitter: string) => Promise<string>): void {
  const form = byId(id, HTMLFormElement);
  const note = form.querySelector<HTMLElement>("[role=status]");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const submitter = event.submitter?.getAttribute("value") ?? "";
    work(submitter).then(
      (text) => tell(note, text, false),
      (failure: unknown) => tell(note, failure instanceof Error ? failure.message : String(failure), true),
    );
  });
}

export function tell(note: HTMLElement | null, text: string, failed: boolean): void {
  if (note !== null) {
    note.textContent = text;
    note.classList.toggle("failed", failed);
  }
}
