import { describe, expect, test } from 'vitest';
import { emptyConfig, mergeConfig } from '../../../host/policy/config.ts';
import { parseConfig } from '../../../host/policy/parse-config.ts';
import { effectivePolicy } from '../../../host/policy/effective.ts';

const domain = (metadata: Record<string, string> = {}) => ({
  name: 'web1',
  uuid: '11111111-2222-3333-4444-555555555555',
  metadata: { policy: metadata },
});

const config = parseConfig(
  `defaults:
  minimum: 64K
  lease: 2m
domains:
  - match: web*
    minimum: 1MiB
    quiesce: filesystem
  - match: [tag:prod, "!web2"]
    minimum: 2MiB
`,
  '/etc/virt-trim/config.yaml',
);

describe('the policy chain', () => {
  test('defaults have no place', () => {
    const policy = effectivePolicy(domain(), { config: emptyConfig });
    expect(policy.trim).toEqual({ value: true, origin: { kind: 'default', place: '' } });
    expect(policy.timeoutSeconds.value).toBe(null);
    expect(policy.windowsFreeze.value).toBe(false);
  });

  test('a matching rule wins over the defaults of the file, and says where it stands', () => {
    const policy = effectivePolicy(domain(), { config });
    expect(policy.minimumBytes).toEqual({ value: 1024 ** 2, origin: { kind: 'config', place: '/etc/virt-trim/config.yaml:6' } });
    expect(policy.leaseSeconds).toEqual({ value: 120, origin: { kind: 'config', place: '/etc/virt-trim/config.yaml:3' } });
    expect(policy.quiesceLevel.value).toBe('filesystem');
  });

  test('among rules the later one wins, by the tags in the metadata', () => {
    expect(effectivePolicy(domain({ tags: 'prod, blue' }), { config }).minimumBytes.value).toBe(2 * 1024 ** 2);
  });

  test('metadata wins over the configuration, the environment over metadata, a flag over all', () => {
    const own = domain({ minimum: '4K', 'exclude-disks': 'vdb,sd*' });
    expect(effectivePolicy(own, { config }).minimumBytes).toEqual({ value: 4096, origin: { kind: 'metadata', place: 'metadata of web1' } });
    expect(effectivePolicy(own, { config }).excludeDisks.value).toEqual(['vdb', 'sd*']);
    const env = { VIRT_TRIM_MINIMUM: '8K' };
    expect(effectivePolicy(own, { config, env }).minimumBytes.origin).toEqual({ kind: 'environment', place: 'VIRT_TRIM_MINIMUM' });
    expect(effectivePolicy(own, { config, env, flags: { minimumBytes: 0 } }).minimumBytes).toEqual({
      value: 0,
      origin: { kind: 'flag', place: '--minimum' },
    });
  });

  test.each([
    [{ minimun: '4K' }, /metadata of web1: unknown setting 'minimun'; there are trim, minimum/],
    [{ lease: '2h' }, /metadata of web1: lease: must be between 1 s and 3600 s/],
    [{ trim: 'maybe' }, /metadata of web1: trim: expected yes or no/],
    [{ schedule: 'every day' }, /metadata of web1: schedule: is no cron expression/],
  ])('%j is refused with key and place', (metadata, message) => {
    expect(() => effectivePolicy(domain(metadata as unknown as Record<string, string>), { config })).toThrow(message);
  });
});

describe('a configuration file', () => {
  test.each([
    ['defaults:\n  minimun: 4K\n', /c\.yaml:2: unknown key 'minimun'; known here: trim/],
    ['domains:\n  - match: a\n    lese: 4\n', /c\.yaml:3: unknown key 'lese'; known here: match, trim/],
    ['limit: 3\n', /c\.yaml:1: unknown key 'limit'; known here: defaults/],
    ['defaults:\n  trim: yes\n  lease: soon\n', /c\.yaml:3: lease: expected a duration/],
    ['defaults:\n  trim: yes\n  trim: no\n', /c\.yaml:3: Map keys must be unique/],
    ['a: &a [x]\nb: *a\n', /c\.yaml: .*alias/i],
    ['defaults: [\n', /c\.yaml:\d: /],
    ['limits:\n  per-backend: 0\n', /c\.yaml:2: limits\.per-backend/],
  ])('%j names the line', (text, message) => {
    expect(() => parseConfig(text, 'c.yaml')).toThrow(message);
  });

  test('an empty file is an empty configuration', () => {
    expect(parseConfig('# nothing yet\n', 'c.yaml')).toMatchObject({ defaults: {}, rules: [], connections: null });
  });

  test("a later file's defaults win, its rules come behind", () => {
    const merged = mergeConfig(config, parseConfig('defaults: {minimum: 0}\ndomains: [{match: web1, lease: 5}]\n', 'd.yaml'));
    expect(effectivePolicy({ ...domain(), name: 'db' }, { config: merged }).minimumBytes.origin.place).toBe('d.yaml:1');
    expect(effectivePolicy(domain(), { config: merged }).leaseSeconds.value).toBe(5);
  });
});
