import type { Logger } from 'pino';
import type { EngineEvent } from './target.ts';

/** Tells what the engine does. One line each, with the same names for the same things as the lines about trims (runner.ts). */
export function tellEvent(log: Logger, event: EngineEvent): void {
  const { name, uuid, hypervisor } = event.target;
  const facts = { event: event.type, domain: name, uuid, hypervisor };
  const iso = (time: number): string => new Date(time).toISOString();
  switch (event.type) {
    case 'waiting':
      log.info(facts, `waits for ${event.what}`);
      break;
    case 'started':
      log.debug({ ...facts, why: event.reason, due: iso(event.due), waitedSeconds: event.waitedMs / 1000 }, 'trim begins');
      break;
    case 'postponed':
      log.info({ ...facts, until: iso(event.until) }, `put off: ${event.why}`);
      break;
    case 'gave-up':
      log.warn(facts, `not tried again before its next time: ${event.why}`);
      break;
    case 'missed':
      log.info({ ...facts, due: iso(event.due), until: iso(event.at) }, 'missed its time, is caught up once');
      break;
    case 'not-doubled':
      log.warn({ ...facts, due: iso(event.due) }, 'was still trimming when its next time came; not done twice');
      break;
  }
}
