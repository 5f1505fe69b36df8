/** Finding the adapters, choosing one, and saying what is missing where there is none. */
import { UserError } from "../../errors";
import type { DeviceInfo } from "../device";
import { type AdapterFacts, backends, feature, instance } from "./provider";
import type { Handle } from "./struct";

export interface Adapter {
  readonly handle: Handle;
  readonly info: DeviceInfo;
  /** The raw WGPULimits, passed back whole when the device is made. */
  readonly limits: Uint8Array;
  readonly features: ReadonlySet<number>;
  readonly subgroupSize: number;
}

/** What to install, by platform, where Dawn finds no adapter that computes. */
export const driverHint =
  process.platform === "linux"
    ? "install a Vulkan driver that Dawn accepts: Mesa 25 or newer (`apt-get install mesa-vulkan-drivers`, on Debian 12 with `-t bookworm-backports`), or your GPU vendor's driver"
    : "update the graphics driver";

/**
 * Every usable adapter, hardware first. Dawn's null adapter, which accepts every call and computes nothing, is left out.
 * Dawn prints a warning of its own when a driver is too old.
 */
export function listAdapters(): Adapter[] {
  const dawn = instance();
  const found = new Map<string, Adapter>();
  for (const request of [{ power: "high-performance" }, { power: "low-power" }, {}, { fallback: true }] as const) {
    const handle = dawn.requestAdapter(request);
    if (!handle) continue;
    const facts = dawn.adapterFacts(handle);
    const key = `${facts.device}|${facts.description}|${facts.backend}`;
    if (isNull(facts) || found.has(key)) {
      dawn.releaseAdapter(handle);
      continue;
    }
    const limits = dawn.adapterLimits(handle);
    const features = dawn.adapterFeatures(handle);
    found.set(key, {
      handle,
      limits,
      features,
      info: infoOf(facts, limits, features),
      subgroupSize: fixedSubgroup(facts, features),
    });
  }
  return [...found.values()].sort((a, b) => Number(isSoftware(a)) - Number(isSoftware(b)));
}

/** A GPU, or null if there is none: null too where Dawn cannot be loaded, which `doctor` says. */
export function findHardware(): Adapter | null {
  try {
    return keepOnly(listAdapters(), (adapter) => !isSoftware(adapter));
  } catch {
    return null;
  }
}

/** The first that fits; the others are released. */
function keepOnly(adapters: readonly Adapter[], fits: (adapter: Adapter) => boolean): Adapter | null {
  const chosen = adapters.find(fits) ?? null;
  for (const other of adapters) if (other !== chosen) instance().releaseAdapter(other.handle);
  return chosen;
}

/** Picks by `gpu`, `software`, or a part of the adapter's name. Adapters not picked are released. */
export function chooseAdapter(wanted: string): Adapter {
  const adapters = listAdapters();
  const name = wanted.toLowerCase();
  const fits = (adapter: Adapter) =>
    (name === "gpu" && !isSoftware(adapter)) ||
    (name === "software" && isSoftware(adapter)) ||
    `${adapter.info.name} ${adapter.info.driver}`.toLowerCase().includes(name);
  const chosen = keepOnly(adapters, fits);
  if (chosen) return chosen;
  if (adapters.length === 0) {
    throw new UserError("no WebGPU adapter that computes was found", {
      hint: `--device cpu needs none; or ${driverHint}`,
    });
  }
  const names = adapters.map(({ info }) => `${info.name} (${info.kind})`).join(", ");
  throw new UserError(`no adapter fits --device ${wanted}`, { hint: `found: cpu, ${names}`, exitCode: 2 });
}

function isNull(facts: AdapterFacts): boolean {
  return backends[facts.backend] === "null" || facts.device.toLowerCase().includes("null");
}

function isSoftware({ info }: Adapter): boolean {
  return info.kind === "software";
}

function fixedSubgroup(facts: AdapterFacts, features: ReadonlySet<number>): number {
  return features.has(feature.subgroups) && facts.subgroupMin === facts.subgroupMax ? facts.subgroupMin : 0;
}

function infoOf(facts: AdapterFacts, raw: Uint8Array, features: ReadonlySet<number>): DeviceInfo {
  const view = new DataView(raw.buffer);
  const u32 = (offset: number) => view.getUint32(offset, true);
  const u64 = (offset: number) => Number(view.getBigUint64(offset, true));
  return {
    name: facts.device || facts.description,
    driver: facts.description,
    kind: facts.type === 3 ? "software" : "hardware",
    backend: backends[facts.backend] ?? String(facts.backend),
    arithmetic: `${facts.device || facts.description} (${facts.description})`,
    features: Object.entries(feature).flatMap(([name, id]) => (features.has(id) ? [name] : [])),
    limits: {
      maxBufferSize: u64(96),
      maxStorageBufferBindingSize: u64(72),
      maxStorageBuffersPerShaderStage: u32(52),
      minStorageBufferOffsetAlignment: u32(84),
      minUniformBufferOffsetAlignment: u32(80),
      maxComputeWorkgroupStorageSize: u32(124),
      maxComputeInvocationsPerWorkgroup: u32(128),
      maxComputeWorkgroupSizeX: u32(132),
      maxComputeWorkgroupsPerDimension: u32(144),
      subgroupMinSize: facts.subgroupMin,
      subgroupMaxSize: facts.subgroupMax,
    },
  };
}
