import type { Command } from '../command.ts';
import { JsonFloat } from '../json/value.ts';
import type { Sys } from '../sys.ts';
import { readText } from '../text-file.ts';

interface User {
  readonly user: string;
  loginMicros: number;
}

/** utmp(5): records of glibc on 64-bit machines; on x86-64 the times are 32 bits wide, so that 32-bit programs share the file. */
const layouts = {
  compact: { size: 384, seconds: 340, micros: 344, wide: false },
  wide: { size: 400, seconds: 344, micros: 352, wide: true },
} as const;
const userProcess = 7;
const userOffset = 44;
const userBytes = 32;

/** Who is logged in, each once with the earliest login, in the file's order. */
export const guestGetUsers: Command = {
  name: 'guest-get-users',
  run: (context) => {
    const { machine } = context.sys.unixName();
    return readUsers(context.sys, machine === 'aarch64' ? 'wide' : 'compact').map(({ user, loginMicros }) => ({
      user,
      'login-time': new JsonFloat(loginMicros / 1e6),
    }));
  },
};

function readUsers(sys: Sys, kind: keyof typeof layouts): User[] {
  const bytes = readText(sys, '/var/run/utmp') ?? '';
  const layout = layouts[kind];
  const users: User[] = [];
  for (let at = 0; at + layout.size <= bytes.length; at += layout.size) {
    if (littleEndian(bytes, at, 2) !== userProcess) continue;
    const user = cString(bytes.slice(at + userOffset, at + userOffset + userBytes));
    const width = layout.wide ? 8 : 4;
    const loginMicros = littleEndian(bytes, at + layout.seconds, width) * 1e6 + littleEndian(bytes, at + layout.micros, width);
    const known = users.find((it) => it.user === user);
    if (known === undefined) users.push({ user, loginMicros });
    else known.loginMicros = Math.min(known.loginMicros, loginMicros);
  }
  return users;
}

function littleEndian(bytes: string, at: number, width: number): number {
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 256 + bytes.charCodeAt(at + i);
  return value;
}

function cString(bytes: string): string {
  const end = bytes.indexOf('\0');
  return end < 0 ? bytes : bytes.slice(0, end);
}
