#!/usr/bin/env node
// Plays virsh for a host of BENCH_DOMAINS domains: list, domstats, dumpxml, echo, in the batches that virt-trim sends. What it prints is
// the recorded output of a real domain with name, UUID and paths replaced, so that what has to be read is as long as in reality.
import { readFileSync, writeSync } from 'node:fs';

const fixtures = new URL('../fixtures/', import.meta.url);
const xml = readFileSync(new URL('domain-xml-basic/running-9.0.0.xml', fixtures), 'utf8');
const stats = readFileSync(new URL('domstats/running-9.0.0.txt', fixtures), 'utf8');
const count = Number(process.env.BENCH_DOMAINS);
const uuidOf = (index) => `${String(index).padStart(8, '0')}-0000-4000-8000-000000000000`;
const nameOf = (index) => `domain-${index}`;
const indexes = Array.from({ length: count }, (_, index) => index + 1);
const adapt = (text, index) =>
  text
    .replaceAll('5d1f6f0e-0000-4000-8000-000000000001', uuidOf(index))
    .replace(/<name>.*<\/name>/, `<name>${nameOf(index)}</name>`)
    .replace(/^Domain: .*$/m, `Domain: '${nameOf(index)}'`);

const say = (text, fd = 1) => {
  for (let rest = Buffer.from(text); rest.length > 0;) rest = rest.subarray(writeSync(fd, rest));
};

for (const command of (process.argv.at(-1) ?? '').split(';')) {
  const [verb, ...words] = command.split(' ');
  if (verb === 'echo') say(words[0] === '--err' ? `error: ${words[1]}\n` : `${words[0]}\n`, words[0] === '--err' ? 2 : 1);
  else if (verb === 'list') say(indexes.map((index) => `${uuidOf(index)} ${nameOf(index)}\n`).join(''));
  else if (verb === 'domstats') for (const index of indexes) say(`${adapt(stats, index).trimEnd()}\n\n`);
  else if (verb === 'dumpxml') say(adapt(xml, Number(words[0].slice(0, 8))));
  else if (verb !== '') say(`error: unknown command: '${verb}'\n`, 2);
}
