import { closeBrace, closeBracket, errorToken, Lexer, openBrace, openBracket } from './lexer.ts';
import type { TokenKind, TokenSink } from './lexer.ts';
import { Parser } from './parser.ts';
import type { Json } from './value.ts';

/** What the host sent: a value, or what is wrong with it (the `desc` of a GenericError). */
export type Message = { readonly value: Json } | { readonly error: string };

/** Bounds of one message. QEMU's are 64 MiB, two million tokens and a depth of 1024; this agent's memory is locked. */
export const maxMessageBytes = 1 << 20;
export const maxMessageTokens = 1 << 16;
export const maxMessageDepth = 1 << 7;

/**
 * Cuts the host's byte stream into messages as qemu-ga does (qobject/json-streamer.c): by brackets, not by lines. A message ends
 * when no bracket is open any more, or one too many was closed. After a message that broke a bound everything up to the next
 * newline is dropped, so that its rest is not taken for requests.
 */
export class MessageReader implements TokenSink {
  private readonly lexer = new Lexer();
  private readonly parser = new Parser();
  private readonly emit: (message: Message) => void;
  private braces = 0;
  private brackets = 0;
  private tokens = 0;
  private size = 0;
  private skipping = false;

  constructor(emit: (message: Message) => void) {
    this.emit = emit;
  }

  /** Whether the beginning of a message is held. */
  get isPartial(): boolean {
    return this.tokens > 0 || this.lexer.pending > 0 || this.skipping;
  }

  /** Forgets a half message: its client is gone. */
  reset(): void {
    this.lexer.reset();
    this.skipping = false;
    this.endMessage();
  }

  /** `plain`: see {@link Lexer.feed}. */
  feed(bytes: string, plain = false): void {
    let rest = bytes;
    while (rest !== '') {
      if (this.skipping) {
        const newline = rest.indexOf('\n');
        if (newline < 0) return;
        this.skipping = false;
        rest = rest.slice(newline + 1);
      }
      const used = this.lexer.feed(rest, this, plain);
      if (this.size + this.lexer.pending > maxMessageBytes) this.refuse('JSON token size limit exceeded');
      rest = used < rest.length ? rest.slice(used) : '';
    }
  }

  /** For the lexer. */
  takeToken(kind: TokenKind, text: string): void {
    if (kind === errorToken) {
      this.endMessage();
      const nul = text.indexOf('\0');
      this.emit({ error: `JSON parse error, stray '${nul < 0 ? text : text.slice(0, nul)}'` });
      return;
    }
    switch (kind) {
      case openBrace:
        this.braces++;
        break;
      case closeBrace:
        this.braces--;
        break;
      case openBracket:
        this.brackets++;
        break;
      case closeBracket:
        this.brackets--;
    }
    this.size += text.length + 1;
    if (this.size > maxMessageBytes) return this.refuse('JSON token size limit exceeded');
    if (++this.tokens > maxMessageTokens) return this.refuse('JSON token count limit exceeded');
    if (this.braces + this.brackets > maxMessageDepth) return this.refuse('JSON nesting depth limit exceeded');

    this.parser.add(kind, text);
    if ((this.braces > 0 || this.brackets > 0) && this.braces >= 0 && this.brackets >= 0) return;
    const { error, value } = this.parser;
    this.endMessage();
    if (error === undefined && value !== undefined) this.emit({ value });
    else this.emit({ error: `JSON parse error, ${error ?? 'premature EOI'}` });
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
