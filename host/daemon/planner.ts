import type { Config } from '../policy/config.ts';
import { effectivePolicy, type EffectivePolicy } from '../policy/effective.ts';
import type { Domain } from '../libvirt/domains.ts';
import { Timetable } from '../schedule/timetable.ts';
import { backendsOf } from '../trim/backend.ts';
import { toAppError } from '../../shared/errors.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { Target } from './target.ts';

export interface PlanSources {
  readonly config: Config;
  readonly env: NodeJS.ProcessEnv;
  /** What was planned already: a domain that was not read again, under the same configuration, is the same plan. */
  readonly planned: WeakMap<Domain, Promise<Planned>>;
}

export function newSources(config: Config, env: NodeJS.ProcessEnv): PlanSources {
  return { config, env, planned: new WeakMap() };
}

/** A domain with its settings, and its place in the plan. */
export interface Planned {
  readonly target: Target;
  readonly hypervisor: Hypervisor;
  readonly domain: Domain;
  /** Null where its settings are broken; `target.excluded` says how. */
  readonly policy: EffectivePolicy | null;
}

/** The settings of a domain, made into times. */
function timetableOf(domain: Domain, policy: EffectivePolicy): { timetable: Timetable | null; excluded: string | null } {
  const { trim, schedule, timeZone, windowSeconds, maintenance } = policy;
  if (!trim.value) return { timetable: null, excluded: `trim=no (${trim.origin.place})` };
  if (schedule.value === null) return { timetable: null, excluded: `schedule=none (${schedule.origin.place})` };
  const settings = {
    schedule: schedule.value,
    timeZone: timeZone.value,
    windowMs: windowSeconds.value * 1000,
    maintenance: maintenance.value,
  };
  return { timetable: new Timetable(domain.uuid, settings), excluded: null };
}

/** Plans one domain. Broken settings exclude it, and say why: a domain is never trimmed at a time that nobody meant. */
export async function planDomain(hypervisor: Hypervisor, domain: Domain, sources: PlanSources, key = domain.uuid): Promise<Planned> {
  const common = { key, uuid: domain.uuid, name: domain.name, hypervisor: hypervisor.name };
  try {
    const policy = effectivePolicy(domain, sources);
    const backends = await backendsOf(domain, hypervisor.place, policy.backend.value);
    const target = { ...common, ...timetableOf(domain, policy), catchUp: policy.catchUp.value, backends };
    return { target, hypervisor, domain, policy };
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code !== 'config') throw thrown;
    const target = { ...common, timetable: null, excluded: error.message, catchUp: false, backends: [] };
    return { target, hypervisor, domain, policy: null };
  }
}

/**
 * Plans all domains of all hypervisors. One that is known on several (migrated, or defined on both) is planned once, where it runs; only if
 * two domains of one UUID run at the same time, each has a place.
 */
export async function planFleet(hypervisors: readonly Hypervisor[], sources: PlanSources): Promise<Planned[]> {
  const byUuid = new Map<string, { hypervisor: Hypervisor; domain: Domain }[]>();
  for (const hypervisor of hypervisors) {
    for (const domain of hypervisor.domains) {
      const places = byUuid.get(domain.uuid) ?? [];
      byUuid.set(domain.uuid, [...places, { hypervisor, domain }]);
    }
  }
  return Promise.all(
    [...byUuid.values()].flatMap((places) => {
      const running = places.filter(({ domain }) => domain.id !== null);
      const chosen = running.length > 0 ? running : places.slice(0, 1);
      return chosen.map(async ({ hypervisor, domain }, index) => {
        const known = sources.planned.get(domain);
        if (known !== undefined && index === 0) return known;
        const planned = planDomain(hypervisor, domain, sources, index === 0 ? domain.uuid : `${domain.uuid} ${hypervisor.name}`);
        if (index === 0) sources.planned.set(domain, planned);
        return planned;
      });
    }),
  );
}
