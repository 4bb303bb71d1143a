import { Lexer } from './lexer.ts';
import type { TokenKind } from './lexer.ts';
import { Parser } from './parser.ts';
import type { Json } from './value.ts';

/** What the host sent: a value, or what is wrong with it (the `desc` of a GenericError). */
export type Message = { readonly value: Json } | { readonly error: string };

/** Bounds of one message. QEMU's are 64 MiB and two million tokens; this agent's memory is locked. */
export const maxMessageBytes = 1 << 20;
export const maxMessageTokens = 1 << 16;
export const maxMessageDepth = 1 << 10;

/**
 * Cuts the host's byte stream into messages as qemu-ga does (qobject/json-streamer.c): by brackets, not by lines. A message ends
 * when no bracket is open any more, or one too many was closed. After a message that broke a bound everything up to the next
 * newline is dropped, so that its rest is not taken for requests.
 */
export class MessageReader {
  private readonly lexer = new Lexer();
  private readonly parser = new Parser();
  private readonly emit: (message: Message) => void;
  private readonly onToken: (kind: TokenKind, text: string) => void;
  private braces = 0;
  private brackets = 0;
  private tokens = 0;
  private size = 0;
  private skipping = false;

  constructor(emit: (message: Message) => void) {
    this.emit = emit;
    this.onToken = (kind, text) => this.takeToken(kind, text);
  }

  /** Forgets a half message: its client is gone. */
  reset(): void {
    this.lexer.reset();
    this.skipping = false;
    this.endMessage();
  }

  feed(bytes: string): void {
    let rest = bytes;
    while (rest !== '') {
      if (this.skipping) {
        const newline = rest.indexOf('\n');
        if (newline < 0) return;
        this.skipping = false;
        rest = rest.slice(newline + 1);
      }
      const used = this.lexer.feed(rest, this.onToken);
      if (this.size + this.lexer.pending > maxMessageBytes) this.refuse('JSON token size limit exceeded');
      rest = used < rest.length ? rest.slice(used) : '';
    }
  }

  private takeToken(kind: TokenKind, text: string): void {
    if (kind === 'error') {
      this.endMessage();
      const nul = text.indexOf('\0');
      this.emit({ error: `JSON parse error, stray '${nul < 0 ? text : text.slice(0, nul)}'` });
      return;
    }
    this.countBracket(kind);
    this.size += text.length + 1;
    this.tokens++;
    if (this.size > maxMessageBytes) return this.refuse('JSON token size limit exceeded');
    if (this.tokens > maxMessageTokens) return this.refuse('JSON token count limit exceeded');
    if (this.braces + this.brackets > maxMessageDepth) return this.refuse('JSON nesting depth limit exceeded');

    this.parser.add(kind, text);
    if ((this.braces > 0 || this.brackets > 0) && this.braces >= 0 && this.brackets >= 0) return;
    const { error, value } = this.parser;
    this.endMessage();
    if (error === undefined && value !== undefined) this.emit({ value });
    else this.emit({ error: `JSON parse error, ${error ?? 'premature EOI'}` });
  }

  private countBracket(kind: TokenKind): void {
    if (kind === '{') this.braces++;
    else if (kind === '}') this.braces--;
    else if (kind === '[') this.brackets++;
    else if (kind === ']') this.brackets--;
  }

  private refuse(error: string): void {
    this.endMessage();
    this.lexer.reset();
    this.lexer.halt();
    this.skipping = true;
    this.emit({ error });
  }

  private endMessage(): void {
    this.braces = 0;
    this.brackets = 0;
    this.tokens = 0;
    this.size = 0;
    this.parser.reset();
  }
}
