/**
 * QEMU's JSON lexer (qobject/json-lexer.c), byte by byte and resumable at any byte: what one client wrote by halves is one token,
 * strings may stand in single quotes, and after an error it skips to the next byte at which a message can begin. It never looks
 * ahead of the bytes it has, so a request is answered as soon as its last bracket arrives, with or without a newline.
 */
/** What takes the tokens. */
export interface TokenSink {
  takeToken(kind: TokenKind, text: string): void;
}

/** Numbers, because this runs for every byte of every request: punctuation by its code, the others by small ones. */
export const openBrace = 0x7b;
export const closeBrace = 0x7d;
export const openBracket = 0x5b;
export const closeBracket = 0x5d;
export const colon = 0x3a;
export const comma = 0x2c;
/** With its quotes. */
export const stringToken = 1;
/** Without its quotes: neither escapes nor anything beyond ASCII is in it. */
export const plainStringToken = 2;
export const integerToken = 3;
export const floatToken = 4;
export const keywordToken = 5;
/** The bytes up to and with the one that fits nothing. */
export const errorToken = 6;
export type TokenKind = number;

type State =
  | 'start'
  | 'recovery'
  | 'doubleQuoted'
  | 'doubleEscape'
  | 'singleQuoted'
  | 'singleEscape'
  | 'zero'
  | 'digits'
  | 'sign'
  | 'point'
  | 'fraction'
  | 'exponent'
  | 'exponentSign'
  | 'exponentDigits'
  | 'keyword';

/** What a state does with a byte: stay or go on to another state, end a token with it or before it, or fail with it. */
type Step = State | 'endWith' | 'endBefore' | 'fail';

const isDigit = (c: number): boolean => c >= 0x30 && c <= 0x39;
const isStringByte = (c: number): boolean => c >= 0x20 && c <= 0xfd;

function stepInside(state: State, c: number): Step {
  switch (state) {
    case 'doubleQuoted':
      if (c === 0x22) return 'endWith';
      if (c === 0x5c) return 'doubleEscape';
      return isStringByte(c) ? 'doubleQuoted' : 'fail';
    case 'doubleEscape':
      return isStringByte(c) ? 'doubleQuoted' : 'fail';
    case 'singleQuoted':
      if (c === 0x27) return 'endWith';
      if (c === 0x5c) return 'singleEscape';
      return isStringByte(c) ? 'singleQuoted' : 'fail';
    case 'singleEscape':
      return isStringByte(c) ? 'singleQuoted' : 'fail';
    case 'keyword':
      return c >= 0x61 && c <= 0x7a ? 'keyword' : 'endBefore';
    default:
      return stepNumber(state, c);
  }
}

function stepNumber(state: State, c: number): Step {
  const digit = isDigit(c);
  switch (state) {
    case 'zero':
      if (digit) return 'fail';
      return c === 0x2e ? 'point' : 'endBefore';
    case 'digits':
      if (digit) return 'digits';
      if (c === 0x2e) return 'point';
      return c === 0x65 || c === 0x45 ? 'exponent' : 'endBefore';
    case 'sign':
      if (c === 0x30) return 'zero';
      return digit ? 'digits' : 'fail';
    case 'point':
      return digit ? 'fraction' : 'fail';
    case 'fraction':
      if (digit) return 'fraction';
      return c === 0x65 || c === 0x45 ? 'exponent' : 'endBefore';
    case 'exponent':
      if (digit) return 'exponentDigits';
      return c === 0x2b || c === 0x2d ? 'exponentSign' : 'fail';
    case 'exponentSign':
      return digit ? 'exponentDigits' : 'fail';
    default:
      return digit ? 'exponentDigits' : 'endBefore';
  }
}

function kindOf(state: State): TokenKind {
  if (state === 'doubleQuoted' || state === 'singleQuoted') return stringToken;
  if (state === 'keyword') return keywordToken;
  return state === 'zero' || state === 'digits' ? integerToken : floatToken;
}

/** Where scanning goes on after a byte of 'start' or 'recovery'. */
const structural = '{}[]:,';

export class Lexer {
  private state: State = 'start';
  /** The bytes of an unfinished token that came with earlier input. */
  private partial = '';

  private halted = false;
  /** Up to here no backslash and no newline stands in the input; -1: not known. */
  private plainUntil = -1;

  reset(): void {
    this.state = 'start';
    this.partial = '';
  }

  /** For the sink: no further token of this input. */
  halt(): void {
    this.halted = true;
  }

  /** Bytes held for an unfinished token. */
  get pending(): number {
    return this.partial.length;
  }

  /**
   * Returns how much of the input was used up: all of it, unless the sink halted. `plain` says that there are only printable ASCII
   * and newlines in it: then the end of a string can be searched for instead of being stepped to, which is most of the time.
   */
  feed(bytes: string, sink: TokenSink, plain = false): number {
    this.halted = false;
    this.plainUntil = plain ? 0 : -1;
    let at = this.state === 'start' ? 0 : this.finishToken(bytes, 0, 0, sink);
    while (at < bytes.length && !this.halted) at = this.scanToken(bytes, at, sink);
    return at;
  }

  /** Behind the closing quote, or 0 where the string is not there whole or holds what must be looked at. */
  private findPlainEnd(bytes: string, from: number): number {
    const quote = bytes.indexOf('"', from);
    if (quote >= this.plainUntil && from >= this.plainUntil) {
      const backslash = bytes.indexOf('\\', from);
      const newline = bytes.indexOf('\n', from);
      this.plainUntil = Math.min(backslash < 0 ? bytes.length : backslash, newline < 0 ? bytes.length : newline);
    }
    return quote < this.plainUntil ? quote + 1 : 0;
  }

  /** One token, blank or error that begins at `at` in state 'start'. Returns where the next one begins. */
  private scanToken(bytes: string, at: number, sink: TokenSink): number {
    const c = bytes.charCodeAt(at);
    if (c === 0x22) {
      const end = this.plainUntil < 0 ? 0 : this.findPlainEnd(bytes, at + 1);
      if (end > 0) {
        sink.takeToken(plainStringToken, bytes.slice(at + 1, end - 1));
        return end;
      }
      this.state = 'doubleQuoted';
    } else if (c === openBrace || c === closeBrace || c === colon || c === comma || c === openBracket || c === closeBracket) {
      sink.takeToken(c, '');
      return at + 1;
    } else if (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) {
      return at + 1;
    } else {
      this.state = firstState(c);
      if (this.state === 'recovery') {
        sink.takeToken(errorToken, bytes.charAt(at));
        return this.recover(bytes, at + 1);
      }
    }
    return this.finishToken(bytes, at, at + 1, sink);
  }

  /** Goes on with the token that began at `from` (or in earlier input). */
  private finishToken(bytes: string, from: number, scanFrom: number, sink: TokenSink): number {
    if (this.state === 'recovery') return this.recover(bytes, 0);
    for (let at = scanFrom; at < bytes.length; at++) {
      const step = stepInside(this.state, bytes.charCodeAt(at));
      if (step === 'endWith' || step === 'endBefore' || step === 'fail') {
        const end = step === 'endBefore' ? at : at + 1;
        const text = this.partial + bytes.slice(from, end);
        const kind = step === 'fail' ? errorToken : kindOf(this.state);
        this.partial = '';
        this.state = step === 'fail' ? 'recovery' : 'start';
        sink.takeToken(kind, text);
        return step === 'fail' ? this.recover(bytes, end) : end;
      }
      this.state = step;
    }
    this.partial += bytes.slice(from);
    return bytes.length;
  }

  /** Skips to a structural character, a control character or FE, FF: there a message may begin. */
  private recover(bytes: string, from: number): number {
    for (let at = from; at < bytes.length; at++) {
      const c = bytes.charCodeAt(at);
      if ((c < 0x20 && c !== 0x09) || c >= 0xfe || structural.includes(bytes.charAt(at))) {
        this.state = 'start';
        return at;
      }
    }
    this.state = 'recovery';
    return bytes.length;
  }
}

function firstState(c: number): State {
  if (c === 0x27) return 'singleQuoted';
  if (c === 0x30) return 'zero';
  if (c === 0x2d) return 'sign';
  if (isDigit(c)) return 'digits';
  return c >= 0x61 && c <= 0x7a ? 'keyword' : 'recovery';
}
