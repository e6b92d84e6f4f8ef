import { createHash } from 'node:crypto'
import { Hono, type Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { Clock } from '../../model/clock.ts'
import type { Delivery } from '../../model/delivery.ts'
import type { Secret } from '../../model/secret.ts'
import { BodyReader, type BodyLimits } from './body.ts'
import { parseObject } from './json.ts'
import { isAuthorized, verify } from './proof.ts'
import { announcements, registryFormat } from './registries.ts'
import { Replays } from './replays.ts'
import { forgeOf, isPing, isUnsignedPing, movedRefs, type Forge } from './source.ts'

/** Whom a webhook is for: the source of the configuration, or a Registry by its name. */
export type Receiver = 'source' | `registries/${string}`

/** What became of a request. */
type HookResult =
  /** Work comes of it. */
  | 'accepted'
  /** Authentic, and nothing comes of it: another event, another branch, names that cannot be names. */
  | 'ignored'
  /** Authentic, and here already. */
  | 'replayed'
  | 'ping'
  | 'unauthorized'
  /** Signed once, and too old by now. */
  | 'stale'
  /** No such receiver. */
  | 'unknown'
  | 'too_large'
  | 'too_slow'
  /** Content type or encoding. */
  | 'wrong_content'
  /** Authentic, and no JSON object. */
  | 'malformed'
  /** The sender went away in the middle of its body. */
  | 'cut_off'
  /** Too many bodies at once. */
  | 'busy'
  /** Our own fault: the secret cannot be read, or the inbox not be written. */
  | 'failed'

/** What the receivers need. */
export interface WebhookPorts {
  /** Asked at each request, so that a rotated one is used soon. Undefined: there is no such receiver. */
  secretOf(receiver: Receiver): Promise<Secret | undefined>
  /** Resolves when they are on disk; `known`: every one was there already. */
  accept(deliveries: readonly Delivery[]): Promise<'accepted' | 'known'>
  /** Does the source follow this ref, `refs/heads/main`? */
  watches(ref: string): boolean
  /** Look at the source soon. Called once for a push; whoever hears it waits for more. */
  nudge(): void
  readonly clock: Clock
  /** Labels of a metric: what is no receiver is counted as `unknown`, so that senders cannot make up labels. */
  count(receiver: Receiver | 'unknown', result: HookResult): void
  /** An error of our own, for the log. */
  report(receiver: Receiver, error: unknown): void
}

/** 1 MiB for a body, and 32 for all of them; Harbor gives us 3 s to answer, GitHub 10. */
const BODY_LIMITS: BodyLimits = { perBody: 1 << 20, together: 32 << 20, withinMs: 10_000 }

/** Forges and Harbor's users turn hooks off that answer 4xx: whatever is authentic gets a 2xx. */
const STATUS: Readonly<Record<HookResult, ContentfulStatusCode>> = {
  accepted: 202,
  ignored: 202,
  replayed: 200,
  ping: 200,
  unauthorized: 401,
  stale: 401,
  unknown: 404,
  too_large: 413,
  too_slow: 408,
  wrong_content: 415,
  malformed: 400,
  cut_off: 400,
  busy: 503,
  failed: 503,
}

const NAME = /^(?=.{1,128}$)[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/

/**
 * The receivers: `POST /hooks/registries/{name}` and `POST /hooks/source`. What they hear names what to look at and is
 * never believed beyond that. Nothing is parsed before it is authentic.
 */
export function webhooksApp(ports: WebhookPorts, limits: BodyLimits = BODY_LIMITS): Hono {
  const bodies = new BodyReader(limits)
  const replays = new Replays()

  const answer = async (context: Context, receiver: Receiver, judge: (secret: Secret) => Promise<HookResult>) => {
    const secret = await ports.secretOf(receiver).catch((error: unknown) => ({ error }))
    if (secret === undefined) return reply(context, 'unknown', 'unknown')
    if ('error' in secret) {
      ports.report(receiver, secret.error)
      return reply(context, receiver, 'failed')
    }
    const result = await judge(secret).catch((error: unknown) => {
      ports.report(receiver, error)
      return 'failed' as const
    })
    return reply(context, receiver, result)
  }

  const reply = (context: Context, receiver: Receiver | 'unknown', result: HookResult) => {
    ports.count(receiver, result)
    const wait = STATUS[result] === 503 ? { 'retry-after': '5' } : {}
    return context.json({ result }, STATUS[result], wait)
  }

  const fromRegistry = async (context: Context, registry: string, secret: Secret): Promise<HookResult> => {
    const receiver = `registries/${registry}`
    const header = (name: string) => context.req.header(name)
    if (!isAuthorized(header('authorization') ?? '', secret)) return 'unauthorized'
    const format = registryFormat(mediaType(context))
    if (format === undefined || isEncoded(context)) return 'wrong_content'
    return bodies.use(context.req.raw, async (bytes) => {
      const body = parseObject(bytes)
      if (body === undefined) return 'malformed'
      const receivedAt = ports.clock.now()
      const deliveries = announcements(format, header, body).flatMap(({ id, events }, n) =>
        events.map((event, part): Delivery => {
          const key = keyOf(receiver, id ?? `${hashOf(bytes)} ${n}`, `${part}`)
          return { ...event, key, receivedAt, registry }
        }),
      )
      if (deliveries.length === 0) return 'ignored'
      return (await ports.accept(deliveries)) === 'known' ? 'replayed' : 'accepted'
    })
  }

  const fromSource = async (context: Context, forge: Forge, secret: Secret): Promise<HookResult> => {
    if (isUnsignedPing(forge)) return 'ping'
    if (forge.proofs.length === 0) return 'unauthorized'
    if (mediaType(context) !== 'application/json' || isEncoded(context)) return 'wrong_content'
    return bodies.use(context.req.raw, (bytes) => Promise.resolve(judgePush(forge, bytes, secret)))
  }

  const judgePush = (forge: Forge, bytes: Uint8Array, secret: Secret): HookResult => {
    const now = ports.clock.now()
    const verdicts = forge.proofs.map((proof) => ({ proof, verdict: verify(proof, bytes, secret, now) }))
    const held = verdicts.find(({ verdict }) => verdict === 'authentic')?.proof
    if (held === undefined) return verdicts.some(({ verdict }) => verdict === 'stale') ? 'stale' : 'unauthorized'
    if (isPing(forge)) return 'ping'
    const keys = keysOf(forge, held.scheme === 'hmac' ? bytes : undefined)
    if (replays.has(keys, now)) return 'replayed'
    const body = parseObject(bytes)
    if (body === undefined) return 'malformed'
    const refs = movedRefs(forge, body)
    if (refs !== 'any' && !refs.some((ref) => ports.watches(ref))) return 'ignored'
    replays.remember(keys, now)
    ports.nudge()
    return 'accepted'
  }

  const app = new Hono()
  app.post('/hooks/source', (context) =>
    answer(context, 'source', (secret) => {
      const forge = forgeOf((name) => context.req.header(name))
      return fromSource(context, forge, secret)
    }),
  )
  app.post('/hooks/registries/:name', (context) => {
    const name = context.req.param('name')
    if (!NAME.test(name)) return reply(context, 'unknown', 'unknown')
    return answer(context, `registries/${name}`, (secret) => fromRegistry(context, name, secret))
  })
  app.notFound((context) => reply(context, 'unknown', 'unknown'))
  return app
}

/** Without parameters, in lower case. */
function mediaType(context: Context): string {
  return (context.req.header('content-type') ?? '').split(';')[0]!.trim().toLowerCase()
}

/** Nothing is unpacked: a bomb must not be. */
function isEncoded(context: Context): boolean {
  return !['', 'identity'].includes((context.req.header('content-encoding') ?? '').trim().toLowerCase())
}

/** An id header is not signed, so that with another one a body that is signed is still the same delivery. */
function keysOf({ id, proofs }: Forge, signedBody: Uint8Array | undefined): string[] {
  const signedId = proofs.find((proof) => proof.scheme === 'standard')?.id
  const ids = [signedId ?? id].filter((one) => one !== undefined).map((one) => keyOf('source', 'id', one))
  return signedBody === undefined ? ids : [...ids, keyOf('source', 'body', hashOf(signedBody))]
}

function keyOf(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
