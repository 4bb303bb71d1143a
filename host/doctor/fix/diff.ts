import { cleanText } from '../../../shared/clean-text.ts';
import { canonicalLines } from './canonical.ts';

interface Step {
  readonly mark: ' ' | '-' | '+';
  readonly line: string;
}

/** The longest common subsequence, by the textbook: a domain's XML has some hundred lines. */
function compareLines(a: readonly string[], b: readonly string[]): Step[] {
  const width = b.length + 1;
  const lengths = new Uint32Array((a.length + 1) * width);
  const at = (i: number, j: number): number => lengths[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const steps: Step[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const left = a[i];
    const right = b[j];
    if (left !== undefined && left === right) {
      steps.push({ mark: ' ', line: left });
      i += 1;
      j += 1;
    } else if (left !== undefined && (right === undefined || at(i + 1, j) >= at(i, j + 1))) {
      steps.push({ mark: '-', line: left });
      i += 1;
    } else {
      steps.push({ mark: '+', line: right ?? '' });
      j += 1;
    }
  }
  return steps;
}

/** The XML holds the passwords of graphics and migration; a diff goes to terminals and tickets. */
function maskSecrets(line: string): string {
  return line.replace(/\b(passwd|password)="[^"]*"/g, '$1="***"');
}

const contextLines = 2;

/** What changes between two domain XMLs, with a little of what stands around it. Empty where they mean the same. */
export function diffXml(before: string, after: string): string[] {
  const steps = compareLines(canonicalLines(before), canonicalLines(after));
  const near = (index: number): boolean =>
    steps.slice(Math.max(0, index - contextLines), index + contextLines + 1).some((step) => step.mark !== ' ');
  const lines: string[] = [];
  let gap = false;
  for (const [index, { mark, line }] of steps.entries()) {
    if (!near(index)) {
      gap = true;
      continue;
    }
    if (gap && lines.length > 0) lines.push('  …');
    gap = false;
    lines.push(cleanText(`${mark} ${maskSecrets(line)}`, 500));
  }
  return lines;
}

/** Only the lines that differ. */
export function changedLines(before: string, after: string): string[] {
  return diffXml(before, after).filter((line) => line.startsWith('-') || line.startsWith('+'));
}
