/** Where models come from and where they are kept: the environment variables of Hugging Face's own tools. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export interface HubSettings {
  /** HF_ENDPOINT. */
  readonly endpoint: string;
  /** HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub. */
  readonly cache: string;
  /** HF_TOKEN, else what `huggingface-cli login` has written. */
  readonly token: string | undefined;
  /** HF_HUB_OFFLINE: use only what is in the cache. */
  readonly offline: boolean;
}

/** https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables */
export function hubSettings(env: NodeJS.ProcessEnv = process.env): HubSettings {
  const home = env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface");
  return {
    endpoint: (env.HF_ENDPOINT || "https://huggingface.co").replace(/\/+$/, ""),
    cache: env.HF_HUB_CACHE || join(home, "hub"),
    token: env.HF_TOKEN || storedToken(env.HF_TOKEN_PATH || join(home, "token")),
    offline: /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE ?? ""),
  };
}

function storedToken(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim() || undefined;
  } catch {
    return undefined; // nobody has logged in
  }
}

/** Where our own caches go: DAWNGRAD_CACHE, or dawngrad/ in the user's cache folder. */
export function ownCache(env: NodeJS.ProcessEnv = process.env): string {
  return env.DAWNGRAD_CACHE ?? join(env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "dawngrad");
}
