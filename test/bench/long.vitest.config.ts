import { defineConfig } from 'vitest/config';

/** `npm run test:long`: full Debian guests with systemd, libguestfs and ssh. Most of an hour under software emulation, so it is not part of `npm test`. */
export default defineConfig({
  test: {
    globalSetup: ['test/rig/build-once.ts'],
    include: ['test/bench/*.test.ts'],
    testTimeout: 1_500_000,
    hookTimeout: 1_500_000,
    fileParallelism: false,
  },
});
