import type { Arguments, Parameter } from './command.ts';
import { fitsInt64 } from './json/number.ts';
import { JsonInteger } from './json/value.ts';
import type { Json, JsonMap } from './json/value.ts';
import { QgaError } from './qga-error.ts';

const noArguments: Arguments = { integer: undefined, stringList: undefined };
const noParameters: readonly Parameter[] = [];
const nothing: JsonMap = new Map();

/**
 * Checks a request's arguments as QEMU's generated code does: declared parameters first, in their order, then the unexpected.
 * @throws QgaError in QEMU's words
 */
export function checkArguments(parameters: readonly Parameter[] = noParameters, given: JsonMap = nothing): Arguments {
  if (parameters.length === 0 && given.size === 0) return noArguments;
  let integer: number | JsonInteger | undefined;
  let stringList: readonly string[] | undefined;
  let known = 0;
  for (const parameter of parameters) {
    const value = given.get(parameter.name);
    if (value === undefined) {
      if (parameter.optional !== true) throw new QgaError(`Parameter '${parameter.name}' is missing`);
    } else if (parameter.type === 'integer') {
      integer = checkInteger(parameter.name, value);
      known++;
    } else {
      stringList = checkStrings(parameter.name, value);
      known++;
    }
  }
  if (given.size > known) throw new QgaError(`Parameter '${findUnexpected(parameters, given)}' is unexpected`);
  // No command has two parameters of one type, so a name would pick nothing.
  return { integer, stringList };
}

function findUnexpected(parameters: readonly Parameter[], given: JsonMap): string {
  for (const name of given.keys()) {
    if (!parameters.some((parameter) => parameter.name === name)) return name;
  }
  return '';
}

function checkInteger(name: string, value: Json): number | JsonInteger {
  if (typeof value === 'number') return value;
  if (value instanceof JsonInteger && fitsInt64(value)) return value;
  throw wrongType(name, 'integer');
}

function checkStrings(name: string, value: Json): readonly string[] {
  if (!Array.isArray(value)) throw wrongType(name, 'array');
  return (value as readonly Json[]).map((item, at) => {
    if (typeof item !== 'string') throw wrongType(`${name}[${at}]`, 'string');
    return item;
  });
}

function wrongType(name: string, expected: string): QgaError {
  return new QgaError(`Invalid parameter type for '${name}', expected: ${expected}`);
}

export function isObject(value: Json): value is JsonMap {
  return value instanceof Map;
}
