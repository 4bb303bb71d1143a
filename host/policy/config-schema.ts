import * as z from 'zod/mini';
import { settingsSchema, settingsShape } from './settings.ts';

const selectors = z.union([
  z.string().check(z.minLength(1)),
  z.array(z.string().check(z.minLength(1))).check(z.minLength(1), z.maxLength(1000)),
]);

/** One configuration file: /etc/virt-trim/config.yaml or conf.d/*.yaml. */
export const configSchema = z.strictObject({
  defaults: z.optional(settingsSchema),
  domains: z.optional(z.array(z.strictObject({ match: selectors, ...settingsShape })).check(z.maxLength(10_000))),
  /** libvirt URIs that the daemon serves; `connections` is the same by another name. */
  hosts: z.optional(z.array(z.string().check(z.minLength(1))).check(z.minLength(1), z.maxLength(1000))),
  connections: z.optional(z.array(z.string().check(z.minLength(1))).check(z.maxLength(1000))),
  limits: z.optional(
    z.strictObject({
      'per-hypervisor': z.optional(z.int().check(z.gte(1), z.lte(1000))),
      'per-backend': z.optional(z.int().check(z.gte(1), z.lte(1000))),
      /** Percent of time in which something on this host waits for I/O (`some avg10` of /proc/pressure/io); 100 turns it off. */
      'io-pressure': z.optional(z.number().check(z.gte(1), z.lte(100))),
    }),
  ),
});

/** The JSON schema of a configuration file, for editors and for docs/config.schema.json. */
export function configJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(configSchema, { io: 'input', target: 'draft-2020-12' });
  return { $id: 'https://virt-trim.org/schemas/config-1.json', title: 'virt-trim configuration', ...schema };
}
