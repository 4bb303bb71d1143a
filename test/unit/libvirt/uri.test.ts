import { describe, expect, it } from 'vitest';
import { parseUri } from '../../../host/libvirt/uri.ts';
import { AppError } from '../../../shared/errors.ts';

describe('parseUri', () => {
  it.each(['', 'qemu:///system', 'qemu:///session', 'qemu+unix:///system?socket=/run/x', 'xen:///system'])('%j is this machine', (uri) => {
    expect(parseUri(uri)).toEqual({ text: uri, isLocal: true });
  });

  it.each([
    'qemu+ssh://root@hv2/system',
    'qemu+ssh:///system',
    'qemu+tls://hv2/system',
    'qemu://hv2/system',
    'qemu+tcp://localhost/system',
    'qemu+libssh2://hv2/system',
    'qemu+ext:///system?command=/opt/tunnel',
    'qemu+unix:///system?socket=/run/x&proxy=native',
    'test:///default',
    'test:///path/to/xml',
  ])('%j is not: its paths are not ours to stat', (uri) => {
    expect(parseUri(uri).isLocal).toBe(false);
  });

  it.each(['nonsense', '/var/run/libvirt', 'qemu:/system', '--all', 'qemu:///system\nx'])('%j is refused as usage', (uri) => {
    expect(() => parseUri(uri)).toThrow(AppError);
    expect(() => parseUri(uri)).toThrow(/connection URI .*expected DRIVER/s);
  });
});
