import { defineConfig } from 'vitest/config';

// The levels are described in test/README.md; they run one after the other. `vm` files share one machine with real guests, so they do too.
export default defineConfig({
  test: {
    globalSetup: ['test/rig/build-once.ts'],
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 10_000, sequence: { groupOrder: 0 } } },
      {
        test: {
          name: 'contract',
          include: ['test/contract/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'vm',
          include: ['test/vm/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
          // Half of the tiny guests have our agent, half Debian's (test/rig/default-agent.ts).
          env: { VIRT_TRIM_RIG_AGENT: process.env['VIRT_TRIM_RIG_AGENT'] ?? 'by-name' },
          sequence: { groupOrder: 2 },
          // Guests under software emulation: a boot or a deadline can miss its time once on a busy machine. A test that needed its second
          // try is shown with `(retry x1)`; one that fails twice has failed.
          retry: 1,
        },
      },
    ],
  },
});
