import { cleanText } from '../../shared/clean-text.ts';
import type { Column } from '../report/table.ts';
import type { EffectivePolicy, Origin } from './effective.ts';
import { settingKeys, settings } from './settings.ts';

export const policyColumns: readonly Column[] = [{ head: 'Setting' }, { head: 'Value' }, { head: 'From' }];

function show(value: EffectivePolicy[keyof EffectivePolicy]['value']): string {
  if (value === null) return '-';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'object') return value.length === 0 ? '-' : cleanText(value.join(', '));
  return cleanText(String(value));
}

function from(origin: Origin): string {
  return origin.kind === 'default' ? 'default' : cleanText(origin.place);
}

/** Every setting with its value in base units (bytes, seconds) and where it came from. */
export function policyRows(policy: EffectivePolicy): string[][] {
  return settingKeys.map((key) => {
    const { field } = settings[key];
    const { value, origin } = policy[field];
    const unit = field.endsWith('Bytes') ? ' B' : field.endsWith('Seconds') && value !== null ? ' s' : '';
    return [key, show(value) + unit, from(origin)];
  });
}
