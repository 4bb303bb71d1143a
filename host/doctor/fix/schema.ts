import * as z from 'zod/mini';

/** The domain in `virt-trim fix --json`. */
export const fixResult = z.object({
  name: z.string(),
  uuid: z.string(),
  status: z.enum(['ok', 'skipped']),
  /** `left-alone`: there is something that is not done for you, see `leftAlone`; `declined`: the answer was no. */
  code: z.nullable(z.enum(['left-alone', 'declined'])),
  reason: z.nullable(z.string()),
  action: z.enum(['fix', 'revert']),
  changes: z.array(z.string()),
  leftAlone: z.array(z.string()),
  warnings: z.array(z.string()),
  diff: z.array(z.string()),
  applied: z.boolean(),
  needsColdStart: z.boolean(),
  recordId: z.nullable(z.string()),
});
export type FixResult = z.infer<typeof fixResult>;
