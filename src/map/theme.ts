/** Dark or light: as the machine is set, until somebody chooses. */
import { element } from "./page.ts";

export type Theme = "dark" | "light";

const STORED = "milepost-theme";
const prefersLight = matchMedia("(prefers-color-scheme: light)");

export function watchTheme(onChange: (theme: Theme) => void): Theme {
  const chosen = localStorage.getItem(STORED);
  let theme: Theme =
    chosen === "dark" || chosen === "light" ? chosen : prefersLight.matches ? "light" : "dark";
  const paint = (): void => {
    document.documentElement.dataset.theme = theme;
    element("theme").ariaLabel = theme === "dark" ? "Light colours" : "Dark colours";
  };
  const set = (next: Theme): void => {
    theme = next;
    paint();
    onChange(next);
  };
  paint();
  element("theme").addEventListener("click", () => {
    set(theme === "dark" ? "light" : "dark");
    localStorage.setItem(STORED, theme);
  });
  prefersLight.addEventListener("change", () => {
    if (localStorage.getItem(STORED) === null) set(prefersLight.matches ? "light" : "dark");
  });
  return theme;
}
