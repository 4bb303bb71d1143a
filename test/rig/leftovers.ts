import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch (error) {
    // A process that ended while we looked; EINVAL: one that ended and waits for init to take note of it.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ESRCH' && code !== 'EINVAL') throw error;
    return '';
  }
}

/**
 * All that a hypervisor's directory name still stands in on this machine, looked at from outside and without the rig's own code:
 * command lines, open mount namespaces, mounts, loop devices, and the directory itself.
 */
export function findLeftovers(directory: string): string[] {
  const name = path.basename(directory);
  const found: string[] = [];
  for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)) {
    const commandLine = readOrEmpty(`/proc/${pid}/cmdline`).replaceAll('\0', ' ');
    if (commandLine.includes(name)) found.push(`process ${pid}: ${commandLine.slice(0, 120)}`);
    else if (readOrEmpty(`/proc/${pid}/mountinfo`).includes(name))
      found.push(`process ${pid} in its namespace: ${commandLine.slice(0, 120)}`);
  }
  for (const line of readOrEmpty('/proc/self/mountinfo').split('\n')) if (line.includes(name)) found.push(`mount: ${line}`);
  const loops = execFileSync('losetup', ['--list', '--noheadings', '--output', 'NAME,BACK-FILE'], { encoding: 'utf8' });
  for (const line of loops.split('\n')) if (line.includes(name)) found.push(`loop device: ${line}`);
  for (const entry of readdirSync(path.dirname(directory))) if (entry.startsWith(name)) found.push(`directory: ${entry}`);
  return found;
}
