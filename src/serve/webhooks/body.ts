/** How much is read, in bytes. */
export interface BodyLimits {
  readonly perBody: number
  /** Over all bodies that are being read, so that a thousand senders cannot fill the memory. */
  readonly together: number
  /** From the first look at a body to its end. */
  readonly withinMs: number
}

/** Why a body was not read to its end. */
export type Unread = 'too_large' | 'too_slow' | 'busy' | 'cut_off'

/** Reads bodies within limits that hold for all of them. */
export class BodyReader {
  readonly #limits: BodyLimits
  #held = 0

  constructor(limits: BodyLimits) {
    this.#limits = limits
  }

  /**
   * Hands the raw bytes on, and counts them as held until that is done. A body that says that it is too large is not
   * begun; one that does not say is left where it becomes so.
   */
  async use<T>(request: Request, use: (bytes: Uint8Array) => Promise<T>): Promise<T | Unread> {
    if (Number(request.headers.get('content-length') ?? 0) > this.#limits.perBody) return 'too_large'
    const chunks: Uint8Array[] = []
    let size = 0
    try {
      const unread = await this.#read(request, (chunk) => {
        chunks.push(chunk)
        size += chunk.byteLength
        this.#held += chunk.byteLength
        return size
      })
      return unread ?? (await use(Buffer.concat(chunks)))
    } finally {
      this.#held -= size
    }
  }

  /** @param keep takes a chunk and returns the size so far */
  async #read(request: Request, keep: (chunk: Uint8Array) => number): Promise<Unread | undefined> {
    const reader = (request.body as ReadableStream<Uint8Array> | null)?.getReader()
    if (reader === undefined) return undefined
    const late = new AbortController()
    const deadline = setTimeout(() => {
      late.abort()
      // Ends the read under way.
      reader.releaseLock()
    }, this.#limits.withinMs)
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return undefined
        if (keep(value) > this.#limits.perBody) return 'too_large'
        if (this.#held > this.#limits.together) return 'busy'
      }
    } catch {
      // Else only the sender's going away ends a body so.
      return late.signal.aborted ? 'too_slow' : 'cut_off'
    } finally {
      clearTimeout(deadline)
      // Left early, the rest stays with the listener, which answers first and then drops it.
      reader.releaseLock()
    }
  }
}
