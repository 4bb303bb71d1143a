import { createProgram } from '../../host/cli.ts';
import { configJsonSchema } from '../../host/policy/config-schema.ts';
import { renderManPage } from '../../host/report/man-page.ts';
import { resultSchemas } from '../../host/report/result-schemas.ts';

/** Every document that is made from the code: path below the project's root → content. */
export function generatedDocuments(): Map<string, string> {
  const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  const documents = new Map<string, string>();
  for (const [verb, schema] of resultSchemas()) documents.set(`docs/schema/${verb}.json`, json(schema));
  documents.set('docs/schema/config.json', json(configJsonSchema()));
  documents.set('docs/virt-trim.8', renderManPage(createProgram(async () => {})));
  return documents;
}
