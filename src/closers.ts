/** Collects what has to be undone and undoes it in reverse, whatever fails on the way. */
export class Closers implements AsyncDisposable {
  readonly #undo: (() => PromiseLike<void>)[] = []

  /** Registers a resource the moment it exists, and hands it back. */
  use<T extends AsyncDisposable>(resource: T): T {
    this.#undo.push(() => resource[Symbol.asyncDispose]())
    return resource
  }

  /** @throws {AggregateError} when anything failed to close; the rest is closed all the same. */
  async [Symbol.asyncDispose](): Promise<void> {
    const errors: unknown[] = []
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) {
      try {
        await undo()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, 'not everything closed cleanly')
  }
}
