/**
 * Makes a text of foreign origin safe to show: C0, C1 and DEL (terminal escapes), line and paragraph separators and the bidirectional
 * controls become U+FFFD, and the length is bounded. Everything a guest says goes through here before it is stored or printed.
 */
export function cleanText(text: string, maxLength = 200): string {
  const bounded = text.length > maxLength ? `${text.slice(0, maxLength - 1)}…` : text;
  return bounded
    .replace(/[\n\t]/g, ' ')
    .replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\ufffd')
    .replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd');
}
