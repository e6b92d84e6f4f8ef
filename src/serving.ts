import type { Closers } from './closers.ts'
import type { Daemon, Loop } from './daemon.ts'
import type { Clock } from './model/clock.ts'
import type { Instant } from './model/duration.ts'
import { ofKind } from './model/resource.ts'
import { followsRef } from './model/source-ref.ts'
import type { Metrics } from './observe/metrics.ts'
import type { DaemonOperations } from './operate.ts'
import type { Secrets } from './secrets.ts'
import { apiApp } from './serve/api.ts'
import { listenControl } from './serve/control.ts'
import { Heartbeats } from './serve/heartbeats.ts'
import { listen, type Answering } from './serve/listen.ts'
import { probesApp } from './serve/probes.ts'
import { webhooksApp, type Receiver } from './serve/webhooks/app.ts'
import type { Settings } from './settings.ts'
import type { Store } from './store/store.ts'

/** A loop that has not turned for so long hangs: the longest of its steps waits for a forge or a registry. */
const LATE_MS = 15 * 60_000

/**
 * How soon the secret of a receiver that was rotated is in force. Reading one takes as long as all else about a delivery,
 * and anybody who can send to us can have it read.
 */
const SECRET_FRESH_MS = 1_000

export interface ServingPorts {
  readonly settings: Settings
  readonly secrets: Secrets
  readonly daemon: Daemon
  readonly operations: DaemonOperations
  readonly store: Store
  readonly clock: Clock
  readonly heartbeats: Heartbeats
  readonly metrics: Metrics
  readonly report: (what: string, error: unknown) => void
  /** Something is listened to: `http.api` at `127.0.0.1:8081`. */
  readonly listening: (what: string, address: string) => void
}

/** Heartbeats of these loops. */
export function heartbeatsOf(loops: readonly Loop[]): Heartbeats {
  const heartbeats = new Heartbeats()
  for (const loop of loops) heartbeats.expect(loop, LATE_MS)
  return heartbeats
}

/**
 * Opens what a daemon listens on: probes, API, the control socket, and webhooks once there is somebody to listen to.
 * Everything is closed by `closers`, long answers first.
 * @throws {OperatorError} PH8108 where it cannot listen
 */
export async function serve(ports: ServingPorts, closers: Closers): Promise<void> {
  const { settings, secrets, daemon, operations, clock, heartbeats, metrics, report } = ports
  const { http, state } = settings
  const probes = probesApp({
    heartbeats,
    isReady: () => daemon.applied !== undefined,
    isStarted: () => daemon.applied !== undefined || daemon.trouble !== undefined,
    metrics,
  })
  const open = async (app: Answering, address: string, what: string) => {
    const listener = closers.use(await listen(app, address, what))
    ports.listening(what, listener.address)
  }
  await open(probes, http.probes, 'http.probes')

  const closing = new AbortController()
  const access =
    http.tokenSecret === undefined
      ? ({ type: 'loopback' } as const)
      : ({ type: 'token', name: http.tokenSecret, read: () => secrets.own(http.tokenSecret!) } as const)
  const onFailure = (error: unknown) => {
    report('http.api', error)
  }
  const common = { clock, closing: closing.signal, onFailure }
  await open(apiApp(operations, { ...common, access }), http.api, 'http.api')
  closers.use(await listenControl(apiApp(operations, { ...common, access: { type: 'socket' } }), state.dir))

  let webhooks: Promise<unknown> | undefined
  const listenToWebhooks = () => {
    if (webhooks !== undefined || !hasReceivers(ports)) return
    webhooks = open(webhooksOf(ports), http.webhooks, 'http.webhooks').catch((error: unknown) => {
      report('http.webhooks', error)
      webhooks = undefined
    })
  }
  daemon.onApplied(listenToWebhooks)
  listenToWebhooks()
  await webhooks
  // Registered last, so that it is done first.
  closers.use({
    [Symbol.asyncDispose]() {
      closing.abort(new Error('the daemon stops'))
      return Promise.resolve()
    },
  })
}

/** Before anything is applied, the deliveries of a Registry that is declared would be refused as those of none. */
function hasReceivers({ settings, daemon: { applied } }: ServingPorts): boolean {
  if (applied === undefined) return false
  const registries = ofKind(applied.objects, 'Registry')
  return (
    settings.source.webhookSecret !== undefined || registries.some(({ resource }) => resource.webhook !== undefined)
  )
}

function webhooksOf({ settings, secrets, daemon, store, clock, metrics, report }: ServingPorts) {
  const { source } = settings
  const secretName = (receiver: Receiver) => {
    if (receiver === 'source') return source.webhookSecret
    const name = receiver.slice('registries/'.length)
    const declared = ofKind(daemon.applied?.objects ?? [], 'Registry').find(({ resource }) => resource.name === name)
    return declared?.resource.webhook?.secret
  }
  const readSecret = remembered((name) => secrets.own(name), SECRET_FRESH_MS, clock)
  return webhooksApp({
    async secretOf(receiver) {
      const name = secretName(receiver)
      return name === undefined ? undefined : readSecret(name)
    },
    async accept(deliveries) {
      const added = await store.deliver(deliveries)
      daemon.nudgeEvents()
      return added === 0 ? 'known' : 'accepted'
    },
    watches: (ref) => source.type === 'git' && followsRef(source.ref, ref),
    nudge: () => {
      daemon.nudge()
    },
    clock,
    count: (receiver, result) => {
      metrics.countWebhook(receiver, result)
    },
    report: (receiver, error) => {
      report(`webhook ${receiver}`, error)
    },
  })
}

/** Reads each name at most once in so many milliseconds, whatever came of it. */
function remembered<T>(read: (name: string) => Promise<T>, forMs: number, clock: Clock): (name: string) => Promise<T> {
  const known = new Map<string, { readonly at: Instant; readonly value: Promise<T> }>()
  return (name) => {
    const now = clock.now()
    const last = known.get(name)
    // A clock that went back makes nothing last.
    if (last !== undefined && Math.abs(now - last.at) < forMs) return last.value
    const value = read(name)
    known.set(name, { at: now, value })
    return value
  }
}
