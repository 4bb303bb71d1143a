import * as z from 'zod/mini';

/** One line of the demo's table: what the guest uses and what its image takes on the host, at the same moment. */
export const demoStep = z.object({
  step: z.enum(['clean', 'written', 'deleted', 'trimmed']),
  /** df in the guest. */
  guestUsedBytes: z.int(),
  /** st_blocks of the image file on the host. */
  imageBytes: z.int(),
});
export type DemoStep = z.infer<typeof demoStep>;
