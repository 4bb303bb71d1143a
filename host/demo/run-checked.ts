import { AppError } from '../../shared/errors.ts';
import { runTool, type ToolOptions } from '../process.ts';

/**
 * Runs a program that has to succeed and returns its stdout.
 * @throws AppError `tool-failed` with its words, `tool-timeout`, `tool-missing`.
 */
export async function runChecked(file: string, args: readonly string[], options: ToolOptions): Promise<string> {
  const result = await runTool(file, args, { ...options, env: { LC_ALL: 'C', ...options.env } });
  if (result.exitCode === 0) return result.stdout;
  const words = result.stderr.trim() || result.stdout.trim() || `status ${result.exitCode ?? result.signal}`;
  throw new AppError(result.timedOut ? 'tool-timeout' : 'tool-failed', `${file} ${args[0] ?? ''}: ${words}`, {
    context: { program: file },
  });
}
