import { writeDurably } from '../state/durable.ts';
import { cleanText } from '../../shared/clean-text.ts';
import type { Monitored, MonitoredDomain } from './monitor.ts';

interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly samples: readonly { readonly labels: Readonly<Record<string, string>>; readonly value: number | null }[];
}

/** Label values as the text format wants them (prometheus.io, exposition formats): backslash, quote and line feed escaped. */
function escapeLabel(value: string): string {
  return cleanText(value, 300).replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function renderMetric({ name, type, help, samples }: Metric): string[] {
  const known = samples.filter((sample) => sample.value !== null); // an unknown value is no sample, and never 0
  if (known.length === 0) return [];
  const lines = known.map(({ labels, value }) => {
    const text = Object.entries(labels)
      .map(([key, label]) => `${key}="${escapeLabel(label)}"`)
      .join(',');
    return `${name}${text === '' ? '' : `{${text}}`} ${value}`;
  });
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines];
}

function perDomain(
  domains: readonly MonitoredDomain[],
  name: string,
  help: string,
  value: (domain: MonitoredDomain) => number | boolean | null,
  type: Metric['type'] = 'gauge',
): Metric {
  const samples = domains.map((domain) => {
    const found = value(domain);
    return { labels: { domain: domain.name, uuid: domain.uuid }, value: typeof found === 'boolean' ? Number(found) : found };
  });
  return { name: `virt_trim_${name}`, type, help, samples };
}

const seconds = (ms: number | null): number | null => (ms === null ? null : ms / 1000);

/** The whole textfile for node_exporter's textfile collector. Pure. */
export function renderPrometheus({ at, domains, unreadable, storages }: Monitored): string {
  const perStorage = (name: string, help: string, value: (storage: Monitored['storages'][number]) => number | null): Metric => ({
    name: `virt_trim_storage_${name}`,
    type: 'gauge',
    help,
    samples: storages.map((storage) => ({ labels: { storage: storage.name, type: storage.type ?? '' }, value: value(storage) })),
  });
  const single = (name: string, help: string, value: number): Metric => ({
    name: `virt_trim_${name}`,
    type: 'gauge',
    help,
    samples: [{ labels: {}, value }],
  });
  const metrics: Metric[] = [
    single('report_timestamp_seconds', 'When this report was made.', at / 1000),
    single('domains_unreadable', 'Domains that could not be read.', unreadable.length),
    perDomain(domains, 'domain_running', 'Whether the domain runs.', (domain) => domain.running),
    perDomain(domains, 'agent_up', 'Whether the guest agent of a running domain answered.', (domain) => domain.agentUp),
    perDomain(domains, 'frozen', "Whether the guest's filesystems are frozen.", (domain) => domain.frozen),
    perDomain(domains, 'frozen_since_timestamp_seconds', 'When our freeze began.', (domain) => seconds(domain.frozenSince)),
    perDomain(domains, 'last_trim_timestamp_seconds', 'When the domain was last trimmed.', (domain) => seconds(domain.lastTrimAt)),
    perDomain(domains, 'last_trim_ok', 'Whether that trim was verified.', (domain) => domain.lastTrimOk),
    perDomain(domains, 'last_trim_reclaimed_bytes', 'What the host got back by it, as measured.', (domain) => domain.reclaimedBytes),
    perDomain(
      domains,
      'reclaimed_bytes_total',
      'What the host got back by all trims in the history.',
      (domain) => domain.reclaimedTotalBytes,
      'counter',
    ),
    perDomain(domains, 'doctor_blocks', 'Findings that keep discards from the host.', (domain) => domain.blocks),
    perDomain(domains, 'restart_pending', 'Whether a fix waits for a cold restart.', (domain) => domain.restartPending),
    perStorage('free_bytes', 'Free bytes of a storage that holds images.', (storage) => storage.freeBytes),
    perStorage('allocated_bytes', 'What its images take.', (storage) => storage.allocationBytes),
    perStorage('committed_bytes', 'What its images can come to take.', (storage) => storage.commitmentBytes),
    perStorage('overcommitted_bytes', 'By how much that exceeds what is there.', (storage) => storage.overcommittedBytes),
    perStorage('full_timestamp_seconds', 'When it would be full at the growth of the past.', (storage) =>
      storage.fullAt === null ? null : Date.parse(storage.fullAt) / 1000,
    ),
  ];
  return `${metrics.flatMap(renderMetric).join('\n')}\n`;
}

/**
 * Replaces a textfile in one step, readable by all: node_exporter runs as another user, and must never see half a file.
 * @throws AppError `io`.
 */
export async function writeTextfile(file: string, content: string): Promise<void> {
  await writeDurably(file, content, 0o644, 'io'); // its temporary file ends in .tmp: node_exporter reads *.prom only
}
