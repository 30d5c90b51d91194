/**
 * One line of `/readyz?verbose`. `ok` false: whoever asks should go elsewhere for now.
 * `degraded`: it is served, but something that is leaned on is away.
 */
export type Check = { name: string; ok: boolean; degraded?: boolean; detail: string };

/** `/readyz`: 200 while every check is ok. Failed checks are named; `verbose` names all. */
export function readiness(checks: Check[], verbose: boolean): { status: number; text: string } {
  const ready = checks.every((check) => check.ok);
  const shown = verbose ? checks : checks.filter((check) => !check.ok);
  const lines = shown.map((check) => `${word(check)} ${check.name}: ${check.detail}\n`);
  return { status: ready ? 200 : 503, text: `${lines.join("")}${ready ? "ready" : "not ready"}\n` };
}

function word(check: Check): string {
  if (!check.ok) return "failed";
  return check.degraded ? "degraded" : "ok";
}
