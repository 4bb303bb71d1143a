import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../shared/errors.ts';

/** Where the shell programs of this folder lie: beside the sources, or in `dist/demo` behind the bundle's `dist/*.js` and `dist/chunks/*.js`. */
const candidates = ['./', './demo/', '../demo/'];

/**
 * The path of a program that is shipped as a file of its own.
 * @throws AppError `internal` for an installation that lacks it.
 */
export function findProgramFile(name: string): string {
  for (const folder of candidates) {
    const path = fileURLToPath(new URL(folder + name, import.meta.url));
    if (existsSync(path)) return path;
  }
  throw new AppError('internal', `${name}: not part of this installation; build it with: npm run build`);
}
