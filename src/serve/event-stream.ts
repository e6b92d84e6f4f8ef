import { setMaxListeners } from 'node:events'
import type { Clock } from '../model/clock.ts'
import type { Operations } from '../model/operations.ts'
import { Refusal } from './refusal.ts'
import { eventBody, type EventBody } from './wire.ts'

const HEARTBEAT_MS = 15_000
/** Streams at once. */
const MAX_STREAMS = 64
/** What may wait for a client that reads more slowly than things happen, before it is let go. */
const MAX_WAITING = 10_000

/** Server-sent events of single executions. */
export class EventStreams {
  readonly #operations: Pick<Operations, 'watch' | 'journal' | 'execution'>
  readonly #clock: Clock
  readonly #closing: AbortSignal
  #open = 0

  /** @param closing ends every stream */
  constructor(operations: Pick<Operations, 'watch' | 'journal' | 'execution'>, clock: Clock, closing: AbortSignal) {
    this.#operations = operations
    this.#clock = clock
    this.#closing = closing
    // One for each stream, and those are bounded.
    setMaxListeners(0, closing)
  }

  /**
   * What is remembered of an execution, and then, until it ends, what happens to it.
   * @param follow false: only what is remembered
   * @throws {Refusal} for an execution that is not there, and when too many watch
   */
  async open(id: string, follow: boolean): Promise<ReadableStream<Uint8Array>> {
    if (this.#open >= MAX_STREAMS) throw new Refusal(503, 'PH8106', `${MAX_STREAMS} streams are open already`)
    this.#open++
    const stream = new EventStream(this.#clock, this.#closing, () => {
      this.#open--
    })
    try {
      // In one turn, so that nothing falls between what is remembered and what is heard.
      stream.undo(
        this.#operations.watch((event) => {
          stream.send(eventBody(this.#clock.now(), event, id))
        }),
      )
      for (const { at, event } of this.#operations.journal(id)) stream.send(eventBody(at, event, id))
      const isEnded = async () => {
        const found = await this.#operations.execution(id)
        if (found === undefined) throw new Refusal(404, 'PH8104', `no execution ${id} is known here`)
        return found.execution.state === 'Ended'
      }
      if ((await isEnded()) || !follow) stream.end()
      // Another replica may end it, and announces that only there.
      else void stream.beat(isEnded)
      return stream.readable
    } catch (error) {
      stream.end()
      throw error
    }
  }
}

class EventStream {
  readonly readable: ReadableStream<Uint8Array>
  readonly #clock: Clock
  readonly #over = new AbortController()
  readonly #undo: (() => void)[] = []
  #controller!: ReadableStreamDefaultController<Uint8Array>

  constructor(clock: Clock, closing: AbortSignal, onEnd: () => void) {
    this.#clock = clock
    this.readable = new ReadableStream({
      start: (controller) => {
        this.#controller = controller
      },
      cancel: () => {
        this.#finish()
      },
    })
    const close = () => {
      this.end()
    }
    closing.addEventListener('abort', close, { once: true })
    this.undo(onEnd)
    this.undo(() => {
      closing.removeEventListener('abort', close)
    })
    // The headers go with the first bytes.
    this.#write(': preheatd\n\n')
    if (closing.aborted) this.end()
  }

  /** To be called once at the end. */
  undo(action: () => void): void {
    this.#undo.push(action)
  }

  send(body: EventBody | undefined): void {
    if (body === undefined) return
    this.#write(`event: ${body.name}\ndata: ${JSON.stringify(body)}\n\n`)
    if (body.name === 'execution.ended') this.end()
  }

  /** A comment now and then, which tells both sides that the other is there. */
  async beat(isEnded: () => Promise<boolean>): Promise<void> {
    try {
      while (!this.#over.signal.aborted) {
        await this.#clock.sleepUntil(this.#clock.now() + HEARTBEAT_MS, this.#over.signal)
        this.#write(': still here\n\n')
        if (await isEnded()) break
      }
    } catch {
      // It is over, or nobody knows the execution any more: either way nothing comes any more.
    }
    this.end()
  }

  end(): void {
    if (this.#over.signal.aborted) return
    this.#finish()
    this.#controller.close()
  }

  #write(text: string): void {
    if (this.#over.signal.aborted) return
    this.#controller.enqueue(Buffer.from(text))
    if ((this.#controller.desiredSize ?? 0) < -MAX_WAITING) this.end()
  }

  #finish(): void {
    if (this.#over.signal.aborted) return
    this.#over.abort()
    for (const action of this.#undo.splice(0)) action()
  }
}
