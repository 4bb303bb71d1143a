import { AppError, type ErrorCode } from '../../shared/errors.ts';
import { cleanText } from '../../shared/clean-text.ts';

/**
 * virsh exits with 1 whatever went wrong; the words on stderr (under LC_ALL=C) are all there is. This table is the only place
 * that knows them. Texts recorded from libvirt 9.0 (run) and 11.3 (run where Debian 13 was at hand, else from its source);
 * `test/fixtures/virsh-stderr/` holds them. The first match wins, so the special stands before the general.
 */
const table: readonly (readonly [RegExp, ErrorCode])[] = [
  [/QEMU guest agent is not configured/, 'no-channel'],
  [/QEMU guest agent is not connected/, 'agent-disconnected'],
  [/QEMU guest agent is not available due to an error/, 'agent-protocol'],
  [/Guest agent disappeared while executing command/, 'agent-died'],
  [/guest agent command timed out|Guest agent not available for now|guest agent didn't respond/, 'agent-silent'],
  [/cannot acquire state change lock.*agent=/, 'agent-lock'],
  [/cannot acquire state change lock/, 'domain-lock'],
  [/No complete agent response found|Unable to encode message payload|failed to convert virJSONValue/, 'agent-protocol'],
  [/QEMU guest agent (?:reply|returned|sent)|malformed return value|missing in reply|agent reply|guest-[a-z-]+ reply/i, 'agent-protocol'],
  [/active block job|already in use.*job|operation is not supported.*migrat|job is active|another job/i, 'job-active'],
  [/domain is not running|domain is not active/, 'domain-not-running'],
  [/failed to get domain|Domain not found|no domain with matching/, 'domain-unknown'],
  [/Disconnected from .* due to|client socket is closed|Cannot write data: Broken pipe|End of file while reading data/, 'connection-lost'],
  [/authentication (?:unavailable|failed)|access denied|Permission denied|permission denied|polkit/, 'permission-denied'],
  [/failed to connect to the hypervisor|failed to reconnect|Failed to connect socket|Cannot recv data: ssh/, 'connect-failed'],
];

/** An error reply of the agent: behind the colon stand the guest's own words, which must not pass for libvirt's. */
const agentErrorReply = /^error: (?:internal error|guest agent command failed): unable to execute QEMU agent command '[^'\n]*': /;
const agentErrors: readonly (readonly [RegExp, ErrorCode])[] = [
  [/^(?:The )?[Cc]ommand \S+ has been disabled: the agent is in frozen state/, 'agent-frozen'],
  [/^The command \S+ has not been found/, 'agent-unsupported'],
  [/^(?:The )?[Cc]ommand \S+ has been disabled/, 'agent-blocked'],
];

/** A reply that libvirt could not take for one; it quotes the guest's bytes. */
const agentNonsense = /^error: internal error: (?:cannot parse json|failed to parse JSON|Parsed JSON reply|Unknown JSON reply)/;

/** The closed code for a virsh stderr text; `tool-failed` where nobody has seen the words before. */
export function classifyStderr(stderr: string): ErrorCode {
  const at = stderr.search(/^error: /m);
  const text = at === -1 ? stderr : stderr.slice(at); // warnings can stand before it
  const reply = agentErrorReply.exec(text);
  if (reply !== null) return lookUp(agentErrors, text.slice(reply[0].length)) ?? 'agent-error';
  if (agentNonsense.test(text)) return 'agent-protocol';
  return lookUp(table, text) ?? 'tool-failed';
}

function lookUp(entries: typeof table, text: string): ErrorCode | undefined {
  return entries.find(([pattern]) => pattern.test(text))?.[1];
}

/** virsh's own words, in one line and safe for a terminal. Parts of them can come from the guest. */
export function stderrWords(stderr: string): string {
  const lines = stderr
    .split('\n')
    .map((line) => line.replace(/^error: /, '').trim())
    .filter((line) => line !== '');
  return cleanText([...new Set(lines)].join(': '), 600);
}

/** An error of ours that keeps virsh's words. */
export function errorFromStderr(stderr: string, what: string): AppError {
  const words = stderrWords(stderr);
  return new AppError(classifyStderr(stderr), words === '' ? `${what}: virsh failed without a word` : `${what}: ${words}`, {
    context: { stderr: words },
  });
}
