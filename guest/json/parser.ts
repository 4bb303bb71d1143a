import { decodeFloat, decodeInteger } from './number.ts';
import { decodeString, TokenError } from './string.ts';
import type { TokenKind } from './lexer.ts';
import type { Json } from './value.ts';

/** A container that is still open. `expect` is what may come next in it. */
type Frame =
  | { readonly map: Map<string, Json>; expect: 'keyOrEnd' | 'key' | 'colon' | 'value' | 'commaOrEnd'; key: string }
  | { readonly list: Json[]; expect: 'valueOrEnd' | 'value' | 'commaOrEnd' };

/**
 * Builds one message's value from its tokens as they come, in QEMU's words where it is wrong (qobject/json-parser.c). Only the
 * first mistake counts, and it is told when the message ends: until then further tokens are swallowed.
 */
export class Parser {
  error: string | undefined;
  value: Json | undefined;
  private stack: Frame[] = [];

  reset(): void {
    this.error = undefined;
    this.value = undefined;
    if (this.stack.length > 0) this.stack = [];
  }

  add(kind: TokenKind, text: string): void {
    if (this.error !== undefined) return;
    const top = this.stack[this.stack.length - 1];
    if (top === undefined) this.addValue(kind, text, undefined);
    else if ('map' in top) this.addToMap(kind, text, top);
    else this.addToList(kind, text, top);
  }

  private addToMap(kind: TokenKind, text: string, top: Extract<Frame, { map: unknown }>): void {
    switch (top.expect) {
      case 'colon':
        if (kind === ':') top.expect = 'value';
        else this.error = 'missing : in object pair';
        return;
      case 'commaOrEnd':
        if (kind === '}') this.close(top.map);
        else if (kind === ',') top.expect = 'key';
        else this.error = 'expected separator in dict';
        return;
      case 'keyOrEnd':
        if (kind === '}') {
          this.close(top.map);
          return;
        }
    }
    this.addValue(kind, text, top);
  }

  private addToList(kind: TokenKind, text: string, top: Extract<Frame, { list: unknown }>): void {
    if (top.expect === 'commaOrEnd') {
      if (kind === ']') this.close(top.list);
      else if (kind === ',') top.expect = 'value';
      else this.error = 'expected separator in list';
    } else if (kind === ']' && top.expect === 'valueOrEnd') {
      this.close(top.list);
    } else {
      this.addValue(kind, text, top);
    }
  }

  /** A token where a value (or a key, which QEMU parses as a value first) must begin. */
  private addValue(kind: TokenKind, text: string, into: Frame | undefined): void {
    if (kind === '{') {
      this.stack.push({ map: new Map(), expect: 'keyOrEnd', key: '' });
    } else if (kind === '[') {
      this.stack.push({ list: [], expect: 'valueOrEnd' });
    } else {
      try {
        this.place(decodeScalar(kind, text), into);
      } catch (thrown) {
        if (!(thrown instanceof TokenError)) throw thrown;
        this.error = thrown.message;
      }
    }
  }

  private close(container: Json): void {
    this.stack.pop();
    this.place(container, this.stack[this.stack.length - 1]);
  }

  private place(value: Json, into: Frame | undefined): void {
    if (into === undefined) {
      this.value = value;
    } else if ('list' in into) {
      into.list.push(value);
      into.expect = 'commaOrEnd';
    } else if (into.expect === 'value') {
      // QEMU notices a repeated key only after it has parsed the second value.
      if (into.map.has(into.key)) this.error = 'duplicate key';
      else into.map.set(into.key, value);
      into.expect = 'commaOrEnd';
    } else if (typeof value === 'string') {
      into.key = value;
      into.expect = 'colon';
    } else {
      this.error = 'key is not a string in object';
    }
  }
}

/** @throws TokenError */
function decodeScalar(kind: TokenKind, text: string): Json {
  switch (kind) {
    case 'string':
      return decodeString(text);
    case 'integer':
      return decodeInteger(text);
    case 'float':
      return decodeFloat(text);
    case 'keyword':
      if (text === 'true') return true;
      if (text === 'false') return false;
      if (text === 'null') return null;
      throw new TokenError(`invalid keyword '${text}'`);
    default:
      throw new TokenError('expecting value');
  }
}
