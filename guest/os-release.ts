import type { GuestOsInfo } from '../shared/qga/types.ts';
import type { Sys } from './sys.ts';
import { readText } from './text-file.ts';

const fields = {
  id: 'ID',
  name: 'NAME',
  'pretty-name': 'PRETTY_NAME',
  version: 'VERSION',
  'version-id': 'VERSION_ID',
  variant: 'VARIANT',
  'variant-id': 'VARIANT_ID',
} as const;

/** os-release(5) as qemu-ga reads it: the file that QGA_OS_RELEASE names, or /etc/os-release, or /usr/lib/os-release. */
export function readOsRelease(sys: Sys): GuestOsInfo {
  const chosen = sys.env('QGA_OS_RELEASE');
  const text = chosen === undefined ? (readText(sys, '/etc/os-release') ?? readText(sys, '/usr/lib/os-release')) : readText(sys, chosen);
  const values = new Map<string, string>();
  for (const line of (text ?? '').split('\n')) {
    const equals = line.indexOf('=');
    if (equals > 0 && !line.startsWith('#')) values.set(line.slice(0, equals).trim(), unquote(line.slice(equals + 1).trim()));
  }
  const info: Record<string, string> = {};
  for (const [field, key] of Object.entries(fields)) {
    const value = values.get(key);
    if (value !== undefined) info[field] = value;
  }
  return info;
}

/** In double quotes five characters may be escaped; without quotes a value ends at a blank or semicolon. */
function unquote(value: string): string {
  if (!value.startsWith('"') && !value.startsWith("'")) return value.split(' ')[0]?.split(';')[0] ?? '';
  const quote = value.charAt(0);
  let text = '';
  for (let at = 1; at < value.length; at++) {
    const c = value.charAt(at);
    if (c === quote) break;
    const escaped = c === '\\' && '$\'"\\`'.includes(value.charAt(at + 1)) && at + 1 < value.length;
    if (escaped) at++;
    text += value.charAt(at);
  }
  return text;
}
