import type { XmlRule } from '../subject.ts';

/** `detect_zeroes='unmap'` looks at every block that is written. It is never set by us: it costs CPU on every write. */
export const detectZeroes: XmlRule = {
  id: 'detect-zeroes',
  layer: 'driver',
  judge: ({ disk }) => {
    if (disk.detectZeroes !== 'unmap') return null;
    const evidence = `<driver discard='${disk.discard ?? 'not set'}' detect_zeroes='unmap'/>`;
    if (disk.discard === 'unmap')
      return { verdict: 'ok', evidence, message: 'written zeroes become holes too, for some CPU on every write' };
    return {
      verdict: 'warning',
      evidence,
      message: "detect_zeroes='unmap' does nothing but cost CPU while discard is not 'unmap': libvirt treats it as 'on'",
    };
  },
};
