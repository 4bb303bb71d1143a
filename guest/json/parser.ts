import { decodeFloat, decodeInteger } from './number.ts';
import { decodeString, TokenError } from './string.ts';
import {
  closeBrace,
  closeBracket,
  colon,
  comma,
  floatToken,
  integerToken,
  keywordToken,
  openBrace,
  openBracket,
  plainStringToken,
  stringToken,
} from './lexer.ts';
import type { TokenKind } from './lexer.ts';
import type { Json } from './value.ts';

/** What may come next in a container. */
const valueOrEnd = 0;
const value = 1;
const commaOrEnd = 2;
/** Only in an object: a key, or its end. */
const keyOrEnd = 3;
const key = 4;
const colonOnly = 5;

/** A container that is still open; `expect` is one of the above. */
interface MapFrame {
  readonly map: Map<string, Json>;
  readonly list?: undefined;
  expect: number;
  key: string;
}

interface ListFrame {
  readonly map?: undefined;
  readonly list: Json[];
  expect: number;
}

type Frame = MapFrame | ListFrame;

/**
 * Builds one message's value from its tokens as they come, in QEMU's words where it is wrong (qobject/json-parser.c). Only the
 * first mistake counts, and it is told when the message ends: until then further tokens are swallowed.
 */
export class Parser {
  error: string | undefined;
  value: Json | undefined;
  /** The innermost open container, and those around it. */
  private top: Frame | undefined;
  private outer: Frame[] = [];

  reset(): void {
    this.error = undefined;
    this.value = undefined;
    this.top = undefined;
    if (this.outer.length > 0) this.outer = [];
  }

  /** One function for what nearly every token is: on the guest's engine a call costs more than what it does. */
  add(kind: TokenKind, text: string): void {
    if (this.error !== undefined) return;
    const top = this.top;
    if (top === undefined) {
      this.addValue(kind, text, undefined);
      return;
    }
    if (top.map === undefined) {
      this.addToList(kind, text, top);
      return;
    }
    const { expect } = top;
    if (expect === colonOnly) {
      if (kind === colon) top.expect = value;
      else this.error = 'missing : in object pair';
    } else if (expect === commaOrEnd) {
      if (kind === closeBrace) this.close(top.map);
      else if (kind === comma) top.expect = key;
      else this.error = 'expected separator in dict';
    } else if (expect === value) {
      this.addValue(kind, text, top);
    } else if (kind === plainStringToken) {
      top.key = text;
      top.expect = colonOnly;
    } else if (kind === closeBrace && expect === keyOrEnd) {
      this.close(top.map);
    } else {
      this.addValue(kind, text, top);
    }
  }

  private addToList(kind: TokenKind, text: string, top: ListFrame): void {
    if (top.expect === commaOrEnd) {
      if (kind === closeBracket) this.close(top.list);
      else if (kind === comma) top.expect = value;
      else this.error = 'expected separator in list';
    } else if (kind === closeBracket && top.expect === valueOrEnd) {
      this.close(top.list);
    } else {
      this.addValue(kind, text, top);
    }
  }

  /** A token where a value (or a key, which QEMU parses as a value first) must begin. */
  private addValue(kind: TokenKind, text: string, into: Frame | undefined): void {
    if (kind === plainStringToken) {
      this.place(text, into);
    } else if (kind === openBrace) {
      this.open({ map: new Map(), expect: keyOrEnd, key: '' });
    } else if (kind === openBracket) {
      this.open({ list: [], expect: valueOrEnd });
    } else {
      try {
        this.place(decodeScalar(kind, text), into);
      } catch (thrown) {
        if (!(thrown instanceof TokenError)) throw thrown;
        this.error = thrown.message;
      }
    }
  }

  private open(frame: Frame): void {
    if (this.top !== undefined) this.outer.push(this.top);
    this.top = frame;
  }

  private close(container: Json): void {
    this.top = this.outer.length > 0 ? this.outer.pop() : undefined;
    this.place(container, this.top);
  }

  private place(placed: Json, into: Frame | undefined): void {
    if (into === undefined) {
      this.value = placed;
    } else if (into.map === undefined) {
      into.list.push(placed);
      into.expect = commaOrEnd;
    } else if (into.expect === value) {
      // QEMU notices a repeated key only after it has parsed the second value.
      if (into.map.has(into.key)) this.error = 'duplicate key';
      else into.map.set(into.key, placed);
      into.expect = commaOrEnd;
    } else if (typeof placed === 'string') {
      into.key = placed;
      into.expect = colonOnly;
    } else {
      this.error = 'key is not a string in object';
    }
  }
}

/** @throws TokenError */
function decodeScalar(kind: TokenKind, text: string): Json {
  switch (kind) {
    case stringToken:
      return decodeString(text);
    case integerToken:
      return decodeInteger(text);
    case floatToken:
      return decodeFloat(text);
    case keywordToken:
      if (text === 'true') return true;
      if (text === 'false') return false;
      if (text === 'null') return null;
      throw new TokenError(`invalid keyword '${text}'`);
    default:
      throw new TokenError('expecting value');
  }
}
