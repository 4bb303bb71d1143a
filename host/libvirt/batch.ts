/**
 * Several virsh commands in one virsh process, each answer attributed (virsh(1): commands separated by `;`).
 * virsh goes on after a failing command and exits with the last one's status, so neither order nor status says which failed:
 * an unguessable mark is echoed to both streams behind each command.
 */

export interface BatchAnswer {
  readonly stdout: string;
  readonly stderr: string;
  /** The mark behind this command was seen: virsh got to its end, and the next one had begun. */
  readonly reached: boolean;
}

/** Linux refuses one argument of more than 128 KiB (MAX_ARG_STRLEN, execve(2)). */
const maxArgumentBytes = 128 * 1024 - 1;

/** Quotes one word for virsh's own tokenizer, which knows single quotes as the shell does. */
export function quoteWord(word: string): string {
  if (/^[A-Za-z0-9_./:=,@%+-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

function mark(nonce: string, index: number): string {
  return `@${nonce}${index.toString(36)}@`;
}

/** Cuts the commands into pieces that each fit into one argument; indexes count on through all pieces. */
export function composeBatches(commands: readonly (readonly string[])[], nonce: string): { first: number; count: number; text: string }[] {
  const batches: { first: number; count: number; text: string }[] = [];
  let text = '';
  let first = 0;
  for (const [index, command] of commands.entries()) {
    const piece = `${command.map(quoteWord).join(' ')};echo ${mark(nonce, index)};echo --err ${mark(nonce, index)};`;
    if (text !== '' && Buffer.byteLength(text) + Buffer.byteLength(piece) > maxArgumentBytes) {
      batches.push({ first, count: index - first, text });
      text = '';
      first = index;
    }
    text += piece;
  }
  if (text !== '') batches.push({ first, count: commands.length - first, text });
  return batches;
}

/** Splits one stream at the marks. What stands behind the last mark seen belongs to the command that did not end. */
function splitAtMarks(stream: string, nonce: string, first: number, count: number, prefix: string): { parts: string[]; reached: number } {
  const parts: string[] = [];
  let from = 0;
  for (let index = first; index < first + count; index += 1) {
    const text = prefix + mark(nonce, index);
    const at = stream.indexOf(text, from);
    if (at === -1) break;
    parts.push(stream.slice(from, at));
    from = at + text.length;
    if (stream[from] === '\n') from += 1;
  }
  const reached = parts.length;
  if (reached < count) parts.push(stream.slice(from));
  return { parts, reached };
}

/** Attributes what one virsh process printed. `echo --err` prints its text as `error: TEXT` (virsh 9.0, 11.3). */
export function splitBatch(stdout: string, stderr: string, nonce: string, first: number, count: number): BatchAnswer[] {
  const out = splitAtMarks(stdout, nonce, first, count, '');
  const err = splitAtMarks(stderr, nonce, first, count, 'error: ');
  return Array.from({ length: count }, (_, index) => ({
    stdout: out.parts[index] ?? '',
    stderr: err.parts[index] ?? '',
    reached: index < out.reached,
  }));
}
