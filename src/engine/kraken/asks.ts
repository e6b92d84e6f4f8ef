import { isRouteMissing, wantsCertificate } from './refusal.ts'
import type { Asked, KrakenServer } from './server.ts'
import { paths, type Wanted } from './wire.ts'
import type { HttpAnswer } from '../../http.ts'
import { EdgeError } from '../../model/errors.ts'

/** Asks a server for its health. @throws {EdgeError} for whatever is not healthy */
export async function answers(server: KrakenServer, signal: AbortSignal): Promise<void> {
  const action = 'the question whether it is healthy'
  const { answer, refused } = await server.ask({ method: 'GET', url: '/health', action }, signal)
  if (answer.status !== 200) throw refused()
}

/**
 * Before v0.1.6 no server has the route, and the proxy never has it.
 * @throws {EdgeError} PH5011 for a server that is there and not ready: what it holds already it may still serve
 */
export async function provesReady(server: KrakenServer, unready: string, signal: AbortSignal): Promise<void> {
  const action = 'the question whether it is ready'
  const { answer, refused } = await server.ask({ method: 'GET', url: '/readiness', action }, signal)
  if (answer.status === 200 || isRouteMissing(answer)) return
  const error = refused()
  throw answer.status === 503 ? new EdgeError('unavailable', 'PH5011', `${error.message}; ${unready}`) : error
}

/**
 * How many bytes of a blob are there, and not where the origin reads from. Undefined: it is not there.
 * @throws {EdgeError} also for a 200 without a length, which is no origin's: whoever stands before it says more than it
 * knows
 */
export async function bytesHeld(
  owner: KrakenServer,
  repository: string,
  blob: Wanted,
  signal: AbortSignal,
): Promise<number | undefined> {
  const action = `the question whether it holds ${blob.digest}`
  const url = paths.presence(repository, blob.digest)
  const { answer, refused } = await owner.ask({ method: 'HEAD', url, action }, signal)
  const length = answer.headers['content-length']
  if (answer.status === 404) return undefined
  if (answer.status !== 200 || length === undefined) throw refused()
  return Number(length)
}

/**
 * Has an owner pull a blob. Prefetching also counts as use, without which a blob is dropped after six hours.
 * @returns is it there, and was it used?
 * @throws {EdgeError}
 */
export async function prefetch(
  owner: KrakenServer,
  repository: string,
  blob: Wanted,
  signal: AbortSignal,
): Promise<boolean> {
  const url = paths.prefetch(repository, blob.digest)
  const { answer, refused } = await owner.ask({ method: 'POST', url, action: pulling(blob) }, signal)
  if (isPulling(answer)) return answer.status === 200
  // Before v0.1.13 there is no such route, and with mutual TLS only GET and HEAD go without a certificate.
  if (!isRouteMissing(answer) && !wantsCertificate(answer)) throw refused()
  await metainfo(owner, repository, blob, signal)
  return false
}

/** @throws {EdgeError} */
async function metainfo(owner: KrakenServer, repository: string, blob: Wanted, signal: AbortSignal): Promise<void> {
  const { answer, refused } = await askMetainfo(owner, repository, blob, signal)
  if (!isPulling(answer)) throw refused()
}

/** Has a server tell of a blob, which it pulls for that. @throws {EdgeError} */
export function askMetainfo(
  owner: KrakenServer,
  repository: string,
  blob: Wanted,
  signal: AbortSignal,
): Promise<Asked> {
  const url = paths.metainfo(repository, blob.digest)
  return owner.ask({ method: 'GET', url, action: pulling(blob) }, signal)
}

/** It is there, or on its way. */
export function isPulling({ status }: HttpAnswer): boolean {
  return status === 200 || status === 202
}

/** What a background pull that failed is remembered as; a silence, a refusal and busy workers say nothing of a pull. */
export function hasFailed({ status }: HttpAnswer): boolean {
  return status === 404 || status === 500
}

/** Such a request, for a person. */
export function pulling({ digest }: Wanted): string {
  return `the request to pull ${digest}`
}
