// Dark or light: as the system has it, or as one chooses here.

const names = { auto: "Theme: system", dark: "Theme: dark", light: "Theme: light" } as const;
type Theme = keyof typeof names;
const order: Theme[] = ["auto", "dark", "light"];
const kept = "portico-theme";

/** Makes a button go through the themes; the choice is remembered. */
export function chooseTheme(button: HTMLButtonElement): void {
  let theme = order.find((t) => t === recall()) ?? "auto";
  const apply = () => {
    document.documentElement.dataset["theme"] = theme;
    button.textContent = names[theme];
  };
  button.addEventListener("click", () => {
    theme = order[(order.indexOf(theme) + 1) % order.length]!;
    try {
      localStorage.setItem(kept, theme);
    } catch {
      // a browser that keeps nothing
    }
    apply();
  });
  apply();
}

function recall(): string | null {
  try {
    return localStorage.getItem(kept);
  } catch {
    return null;
  }
}
