/** The parts of index.html, by id. */
export function element<T extends Element = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`index.html has no #${id}`);
  return found as unknown as T;
}

export function setText(id: string, text: string): void {
  const target = element(id);
  // screen readers read what is set anew
  if (target.textContent !== text) target.textContent = text;
}

/** As people write it: 12 s, 3 min, 2 h, 5 d. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

const points = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"];

export function compassPoint(degrees: number): string {
  return points[Math.round(degrees / 45) % 8];
}

export const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
