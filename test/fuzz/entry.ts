import { FuzzTarget } from './target.ts';

/** What fuzz.c calls for every input. */
const target = new FuzzTarget();
(globalThis as { fuzzOne?: (input: string) => void }).fuzzOne = (input) => target.run(input);
