import type { Labels, MetricSnapshot } from "./registry.ts";

export const prometheusContentType = "text/plain; version=0.0.4; charset=utf-8";

/** The Prometheus text format 0.0.4: families sorted by name, each with its HELP and TYPE once. */
export function toPrometheus(metrics: MetricSnapshot[]): string {
  const families = new Map<string, MetricSnapshot[]>();
  for (const metric of metrics) {
    const family = families.get(metric.name);
    if (family === undefined) families.set(metric.name, [metric]);
    else family.push(metric);
  }
  let text = "";
  for (const name of [...families.keys()].sort()) {
    const family = families.get(name)!;
    text += `# HELP ${name} ${escapeHelp(family[0].help)}\n# TYPE ${name} ${family[0].type}\n`;
    for (const metric of family) text += samples(metric);
  }
  return text;
}

function samples(metric: MetricSnapshot): string {
  const { name, labels } = metric;
  if (metric.type !== "histogram") return sample(name, labels, metric.value);
  let text = "";
  let cumulative = 0;
  for (let i = 0; i < metric.counts.length; i++) {
    cumulative += metric.counts[i];
    const le = i < metric.buckets.length ? number(metric.buckets[i]) : "+Inf";
    text += sample(`${name}_bucket`, { ...labels, le }, cumulative);
  }
  text += sample(`${name}_sum`, labels, metric.sum);
  return text + sample(`${name}_count`, labels, cumulative);
}

function sample(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${number(value)}\n`;
}

function number(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return String(value);
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}
