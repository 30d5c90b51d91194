/** Dark or light: as the machine is set, until somebody chooses. */
import { element } from "./page.ts";

export type Theme = "dark" | "light";

const STORED = "milepost-theme";
const prefersLight = matchMedia("(prefers-color-scheme: light)");

export function watchTheme(onChange: (theme: Theme) => void): Theme {
  const chosen = localStorage.getItem(STORED);
  let theme: Theme =
    chosen === "dark" || chosen === "light" ? chosen : prefersLight.matches ? "light" : "dark";
  const set = (next: Theme): void => {
    theme = next;
    document.documentElement.dataset.theme = next;
    element("theme").ariaLabel = next === "dark" ? "Light colours" : "Dark colours";
    onChange(next);
  };
  document.documentElement.dataset.theme = theme;
  element("theme").addEventListener("click", () => {
    set(theme === "dark" ? "light" : "dark");
    localStorage.setItem(STORED, theme);
  });
  prefersLight.addEventListener("change", () => {
    if (localStorage.getItem(STORED) === null) set(prefersLight.matches ? "light" : "dark");
  });
  return theme;
}
