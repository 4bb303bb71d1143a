/** For an option that can be repeated: each takes one value, so that it never swallows the arguments behind it. */
export function collect(value: string, earlier: readonly string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}
