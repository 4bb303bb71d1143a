import type { QgaErrorClass } from '../shared/qga/types.ts';

/** A failure that is the answer: `{"error": {"class": …, "desc": …}}`. */
export class QgaError extends Error {
  readonly errorClass: QgaErrorClass;

  constructor(desc: string, errorClass: QgaErrorClass = 'GenericError') {
    super(desc);
    this.errorClass = errorClass;
  }
}
