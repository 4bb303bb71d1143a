/** Linux error numbers the agent decides by. */
export const ENOENT = 2;
export const EINTR = 4;
export const EAGAIN = 11;
export const EBUSY = 16;
export const EINVAL = 22;
export const ENOTTY = 25;
export const EOPNOTSUPP = 95;

/** glibc's words, because callers know qemu-ga's error texts; musl's strerror says some of them differently. */
const words: Readonly<Record<number, string>> = {
  1: 'Operation not permitted',
  2: 'No such file or directory',
  4: 'Interrupted system call',
  5: 'Input/output error',
  6: 'No such device or address',
  9: 'Bad file descriptor',
  11: 'Resource temporarily unavailable',
  12: 'Cannot allocate memory',
  13: 'Permission denied',
  14: 'Bad address',
  16: 'Device or resource busy',
  17: 'File exists',
  19: 'No such device',
  20: 'Not a directory',
  21: 'Is a directory',
  22: 'Invalid argument',
  23: 'Too many open files in system',
  24: 'Too many open files',
  25: 'Inappropriate ioctl for device',
  27: 'File too large',
  28: 'No space left on device',
  30: 'Read-only file system',
  36: 'File name too long',
  38: 'Function not implemented',
  40: 'Too many levels of symbolic links',
  61: 'No data available',
  75: 'Value too large for defined data type',
  88: 'Socket operation on non-socket',
  95: 'Operation not supported',
  98: 'Address already in use',
  107: 'Transport endpoint is not connected',
  110: 'Connection timed out',
  112: 'Host is down',
  113: 'No route to host',
  116: 'Stale file handle',
  117: 'Structure needs cleaning',
  121: 'Remote I/O error',
  123: 'No medium found',
  512: 'Unknown error 512',
};

/** The words for a negative errno as {@link Sys} returns it (or its positive form). */
export function errorWords(errno: number): string {
  const number = Math.abs(errno);
  return words[number] ?? `Unknown error ${number}`;
}
