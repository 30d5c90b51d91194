import { Option } from "commander";
import type { ServeOptions } from "../config/options.ts";
import { serveOption } from "../config/options.ts";

/** An option of `serve` as a flag; its value stays text, which the configuration checks. */
export function serveFlag(field: keyof ServeOptions): Option {
  const option = serveOption(field);
  const value = option.value.startsWith("[") ? option.value : `<${option.value}>`;
  const fallback = option.defaultText ?? String(option.default);
  const made = new Option(`--${option.name} ${value}`, `${option.help} (default: ${fallback})`);
  if (option.many) made.argParser((text, before?: string[]) => [...(before ?? []), text]);
  return made;
}
