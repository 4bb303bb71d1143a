import type { Guest } from '../../../host/demo/guest.ts';

/** A time during which a write in the guest did not return. Host time, performance.now(). */
export interface Gap {
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * In the guest, beside every agent: writes a byte to its disk again and again, and notes when one took long. A write to a frozen file
 * system does not return, so the notes are the freezes, as the guest had them. A second loop looks at what the writer waits for and counts:
 * only the lock that FIFREEZE holds (percpu_rwsem_wait, Linux 6.1) counts, not a slow disk, nor a guest that got no processor.
 */
const program = `
now() { read -r n _ </proc/uptime; n=\${n%.*}\${n#*.}; while [ "\${n#0}" != "$n" ]; do n=\${n#0}; done; [ -n "$n" ] || n=0; }
: >/run/gaps
echo 0 >/run/beat
: >/mnt/vda/probe
beats=0
writer=$$
while :; do
  place=; read -r place </proc/$writer/wchan && :
  case $place in percpu_rwsem*) beats=$((beats + 1)); echo $beats >/run/beat ;; esac
  usleep 200000
done &
while :; do
  read -r from </run/beat || from=0
  now; a=$n; echo "$a $from" >/run/pending
  echo x 1<>/mnt/vda/probe
  now; read -r to </run/beat || to=0
  : >/run/pending
  [ $((n - a)) -lt 30 ] || echo "$a $n $from $to" >>/run/gaps
  usleep 150000
done`;

/** In a freeze of half a second, on a machine that has more to do than it can. */
const leastBeats = 1;

export interface Sight {
  readonly gaps: readonly Gap[];
  /** How long the write in hand has taken so far; null where none waits. */
  readonly pendingMs: number | null;
}

/** Looks at one guest's freezes from inside. */
export class FreezeWatch {
  readonly #guest: Guest;

  private constructor(guest: Guest) {
    this.#guest = guest;
  }

  static async start(guest: Guest): Promise<FreezeWatch> {
    await guest.runChecked(`cat >/run/probe.sh <<'END'\n${program}\nEND\nsetsid sh /run/probe.sh </dev/null >/dev/null 2>&1 &`);
    return new FreezeWatch(guest);
  }

  /** Of a guest whose probe runs already. */
  static attach(guest: Guest): FreezeWatch {
    return new FreezeWatch(guest);
  }

  /** What the probe saw so far; null where the guest cannot be asked (off, paused, rebooting). */
  async look(timeoutMs = 3000): Promise<Sight | null> {
    const before = performance.now();
    let output: string;
    try {
      const run = await this.#guest.run(
        'cat /proc/uptime; echo @; cat /run/pending; echo @; cat /run/gaps; echo @; cat /run/beat',
        timeoutMs,
      );
      if (run.status !== 0) return null;
      ({ output } = run);
    } catch {
      return null; // the port is gone: the guest is off
    }
    const after = performance.now();
    const [uptime = '', pending = '', gaps = '', beat = ''] = output.split('@\n').map((part) => part.trim());
    const nowCentis = Math.round(Number(uptime.split(' ')[0]) * 100);
    const toHost = (centis: number): number => (before + after) / 2 - (nowCentis - centis) * 10;
    return {
      pendingMs: pendingOf(pending, Number(beat), nowCentis),
      gaps: gaps
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => line.split(' ').map(Number))
        .filter(([, , fromBeat = 0, toBeat = 0]) => toBeat - fromBeat >= leastBeats)
        .map(([from = 0, to = 0]) => ({ fromMs: toHost(from), toMs: toHost(to) })),
    };
  }
}

function pendingOf(text: string, beat: number, nowCentis: number): number | null {
  if (text === '') return null;
  const [since = 0, fromBeat = 0] = text.split(' ').map(Number);
  return beat - fromBeat < leastBeats ? null : Math.max(0, (nowCentis - since) * 10);
}
