import type { Reporter, SerializedError, TestModule } from 'vitest/node';

/** Prints `N passed, N failed` as the last line, alone, for whoever counts. What could not even run counts as failed. */
// vitest loads a reporter by its file's default export.
// oxlint-disable-next-line import/no-default-export
export default class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    let passed = 0;
    // `run-tests.mjs` runs the static checks before the tests; they count as one.
    let failed = unhandledErrors.length;
    if (process.env['VIRT_TRIM_STATIC_CHECKS'] === 'passed') passed += 1;
    if (process.env['VIRT_TRIM_STATIC_CHECKS'] === 'failed') failed += 1;
    let tests = 0;
    for (const module of modules) {
      failed += module.errors().length;
      for (const suite of module.children.allSuites()) failed += suite.errors().length;
      for (const test of module.children.allTests()) {
        tests += 1;
        const { state } = test.result();
        if (state === 'passed') passed += 1;
        else failed += 1; // skipped and pending ones too: a test that did not run proves nothing
      }
    }
    if (tests === 0) failed += 1;
    process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
    if (failed > 0) process.exitCode = 1;
  }
}
