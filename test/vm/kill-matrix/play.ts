import pLimit from 'p-limit';
import { startRig } from '../../rig/rig.ts';
import { FaultyBundle } from './bundle.ts';
import { GuestPool } from './guest-pool.ts';
import { playScenario, type Row, type Scenario } from './row.ts';

/** Plays scenarios side by side, each on a guest of its own. Rows come in the order given. */
export async function playMatrix(scenarios: readonly Scenario[], atOnce: number, onRow: (row: Row) => void = () => {}): Promise<Row[]> {
  await using bundle = await FaultyBundle.build();
  await using rig = await startRig();
  const pool = new GuestPool(rig);
  const limit = pLimit(atOnce);
  return await Promise.all(
    scenarios.map((scenario, index) =>
      limit(async () => {
        const row = await playScenario(scenario, pool, bundle.file, index);
        onRow(row);
        return row;
      }),
    ),
  );
}
