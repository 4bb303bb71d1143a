import type { Scenario } from './row.ts';

export const scenariosOfMigration: readonly Scenario[] = [];
