/** A request that cannot be carried out: one line that says what is wrong, and one that says what to do. */
export class RequestError extends Error {
  constructor(
    readonly what: string,
    readonly fix: string,
  ) {
    super(`${what}\n${fix}`);
    this.name = "RequestError";
  }
}
