import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A small ext4 on a loop device; a reason when this machine has none. */
export function mountSmall(mb: number): { dir: string; unmount(): void } | { missing: string } {
  // The programs of the administrator are often not on a user's PATH.
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  const base = mkdtempSync(join(tmpdir(), "milepost-disk-"));
  const image = join(base, "image");
  const dir = join(base, "mount");
  try {
    mkdirSync(dir);
    writeFileSync(image, "");
    truncateSync(image, mb * 1024 * 1024);
    execFileSync("mkfs.ext4", ["-q", "-F", "-m", "0", image], { stdio: "pipe", env });
    execFileSync("mount", ["-o", "loop", image, dir], { stdio: "pipe", env });
  } catch (error) {
    rmSync(base, { recursive: true });
    const reason = (error as Error).message.split("\n")[0];
    return { missing: `needs root, mkfs.ext4 and a loop device: ${reason}` };
  }
  const unmount = (): void => {
    execFileSync("umount", [dir], { stdio: "pipe", env });
    rmSync(base, { recursive: true });
  };
  return { dir, unmount };
}
