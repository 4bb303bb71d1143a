import { FuzzTarget } from './target.ts';
import type { IsPlain } from './target.ts';

/** What fuzz.c calls for every input, and what it gives. */
const shared = globalThis as { fuzzOne?: (input: string) => void; isPlain?: IsPlain };
const target = new FuzzTarget(shared.isPlain);
shared.fuzzOne = (input) => target.run(input);
