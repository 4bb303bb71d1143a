import { defineConfig } from 'vitest/config';

/** `npm run test:install`: full Debian guests, libguestfs and ssh. Half an hour under software emulation, so it is not part of `npm test`. */
export default defineConfig({
  test: {
    globalSetup: ['test/rig/build-once.ts'],
    include: ['test/bench/install*.test.ts'],
    testTimeout: 1_500_000,
    hookTimeout: 1_500_000,
    fileParallelism: false,
  },
});
