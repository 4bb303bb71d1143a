import { describe, expect, test } from 'vitest';
import type { Monitored, MonitoredDomain } from '../../../host/report/monitor.ts';
import { judgeNagios } from '../../../host/report/nagios.ts';
import { renderPrometheus } from '../../../host/report/prometheus.ts';
import type { StorageSizes } from '../../../host/sizes/schema.ts';

const at = Date.parse('2026-11-22T10:00:00Z');
const domain: MonitoredDomain = {
  name: 'web1',
  uuid: 'u1',
  running: true,
  agentUp: true,
  frozen: false,
  frozenSince: null,
  lastTrimAt: at - 3_600_000,
  lastTrimOk: true,
  reclaimedBytes: 1024,
  reclaimedTotalBytes: 4096,
  verdict: 'ok',
  blocks: 0,
  restartPending: false,
};
const storage: StorageSizes = {
  kind: 'filesystem',
  name: '/srv',
  type: 'xfs',
  totalBytes: 100,
  freeBytes: 50,
  images: 1,
  allocationBytes: 10,
  commitmentBytes: 20,
  overcommittedBytes: 0,
  unbounded: [],
  guests: [],
  growthBytesPerDay: null,
  fullAt: null,
};
const make = (domains: Partial<MonitoredDomain>[], storages: Partial<StorageSizes>[] = []): Monitored => ({
  at,
  domains: domains.map((one) => ({ ...domain, ...one })),
  unreadable: [],
  storages: storages.map((one) => ({ ...storage, ...one })),
});
const limits = { frozenSeconds: 300, fullSeconds: 30 * 86_400 };

describe('the Nagios check', () => {
  test.each<[string, Monitored, number, RegExp]>([
    ['all is well', make([{}]), 0, /^VIRT-TRIM OK - 1 of 1 domains run, none frozen, all agents answer \| domains=1 /],
    ['a silent agent', make([{ agentUp: false }]), 1, /WARNING - 1 without an agent that answers \(web1\)/],
    ['blocked discards', make([{ verdict: 'blocks', blocks: 1 }]), 1, /whose discards do not get through/],
    ['frozen for a minute', make([{ frozen: true, frozenSince: at - 60_000 }]), 0, /OK/],
    ['frozen for ten minutes', make([{ frozen: true, frozenSince: at - 600_000 }]), 2, /CRITICAL - 1 frozen for more than 5 min/],
    ['frozen by somebody else', make([{ frozen: true }]), 2, /CRITICAL/],
    ['overcommitted', make([{}], [{ overcommittedBytes: 5 }]), 1, /1 overcommitted \(\/srv\).*overcommitted=5B/],
    ['full in three weeks', make([{}], [{ fullAt: '2026-12-13T00:00:00Z' }]), 1, /full within/],
    ['full tomorrow', make([{}], [{ fullAt: '2026-11-23T00:00:00Z' }]), 2, /full within/],
    ['off', make([{ running: false, agentUp: null, frozen: false }]), 0, /0 of 1 domains run/],
  ])('%s', (_what, monitored, status, line) => {
    const answer = judgeNagios(monitored, limits);
    expect(answer.line).toMatch(line);
    expect(answer.status).toBe(status);
    expect(answer.line).not.toContain('\n');
  });

  test('a name cannot break the line or forge perfdata', () => {
    const { line } = judgeNagios(make([{ name: "a|b=1;\n'c", agentUp: false }]), limits);
    expect(line.split('|')).toHaveLength(2);
    expect(line).toContain('(a_b=1; _c)');
  });
});

describe('the Prometheus textfile', () => {
  test('has a sample for what is known and none for what is not', () => {
    const text = renderPrometheus(make([{ agentUp: null, name: 'we"ir\\d' }], [{}]));
    expect(text).toContain('virt_trim_last_trim_reclaimed_bytes{domain="we\\"ir\\\\d",uuid="u1"} 1024\n');
    expect(text).not.toContain('virt_trim_agent_up');
    expect(text).toContain('virt_trim_storage_overcommitted_bytes{storage="/srv",type="xfs"} 0\n');
  });

  test('is well-formed: HELP and TYPE once, then samples', () => {
    const text = renderPrometheus(make([{}, { name: 'b', uuid: 'u2', frozen: true, frozenSince: at }], [{}]));
    const names = [...text.matchAll(/^# TYPE (\S+) (gauge|counter)$/gm)].map((match) => match[1] ?? '');
    expect(new Set(names).size).toBe(names.length);
    for (const line of text.trimEnd().split('\n'))
      expect(line).toMatch(/^(# (HELP|TYPE) virt_trim_\w+ .+|virt_trim_\w+(\{(\w+="[^"]*",?)+\})? -?[\d.e+]+)$/);
    expect(text.endsWith('\n')).toBe(true);
  });
});
