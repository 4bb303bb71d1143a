import { AppError } from '../../shared/errors.ts';

/** A libvirt connection URI, as `virsh -c` takes it (https://libvirt.org/uri.html). */
export interface ConnectionUri {
  /** As given; empty means: libvirt's own default. */
  readonly text: string;
  /** True only where paths in the domain XML are paths of this machine. */
  readonly isLocal: boolean;
}

const localTransports = new Set(['', 'unix']);

/**
 * Whether a URI reaches this machine's own daemon. Anything doubtful is remote: a remote path must never be stat'ed here.
 * @throws AppError `usage` for a text that is no URI.
 */
export function parseUri(text: string): ConnectionUri {
  if (text === '') return { text, isLocal: true };
  const match = /[\s\p{Cc}]/u.test(text) ? null : /^([a-z][a-z0-9]*)(?:\+([a-z0-9]+))?:\/\/([^/?#]*)(\/[^?#]*)?(\?.*)?$/.exec(text);
  if (match === null) {
    throw new AppError('usage', `connection URI '${text}': expected DRIVER[+TRANSPORT]://[HOST]/PATH, for example qemu:///system`, {
      context: { uri: text },
    });
  }
  const [, driver = '', transport = '', host = '', , query = ''] = match;
  const forwarded = /[?&](?:command|proxy|netcat)=/.test(query);
  return { text, isLocal: driver !== 'test' && host === '' && localTransports.has(transport) && !forwarded };
}
