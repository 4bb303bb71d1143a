import type { Arguments, Parameter } from './command.ts';
import type { Json, JsonMap } from './json/value.ts';
import { QgaError } from './qga-error.ts';

const int64Min = -(2n ** 63n);
const int64Max = 2n ** 63n - 1n;

const none: JsonMap = new Map();

/**
 * Checks a request's arguments as QEMU's generated code does: declared parameters first, in their order, then the unexpected.
 * @throws QgaError in QEMU's words
 */
export function checkArguments(parameters: readonly Parameter[], given: JsonMap = none): Arguments {
  let integer: number | bigint | undefined;
  let stringList: readonly string[] | undefined;
  for (const parameter of parameters) {
    const value = given.get(parameter.name);
    if (value === undefined) {
      if (parameter.optional !== true) throw new QgaError(`Parameter '${parameter.name}' is missing`);
    } else if (parameter.type === 'integer') {
      integer = checkInteger(parameter.name, value);
    } else {
      stringList = checkStrings(parameter.name, value);
    }
  }
  for (const name of given.keys()) {
    if (!parameters.some((parameter) => parameter.name === name)) throw new QgaError(`Parameter '${name}' is unexpected`);
  }
  // No command has two parameters of one type, so a name would pick nothing.
  return { integer, stringList };
}

function checkInteger(name: string, value: Json): number | bigint {
  if (typeof value === 'number') return value;
  if (typeof value === 'bigint' && value >= int64Min && value <= int64Max) return value;
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
