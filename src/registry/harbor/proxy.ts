import { artifactsPath, projectPath, split, type HarborApi } from './api.ts'
import { checkedRepository, checkedTag, PULL, pullScope, type Distribution } from '../distribution.ts'
import { digestIn, listIn } from './wire.ts'
import { digestOf } from '../manifest.ts'
import { EdgeError, excerpt } from '../../model/errors.ts'
import { entriesOf, PAGE_SIZE } from './listing.ts'
import { field, inParallel, parseJson } from '../http.ts'
import { isRedirect, retryAfterMs, type HttpAnswer } from '../../http.ts'
import { MANIFEST_TYPES } from '../../model/media-types.ts'
import { parseDigest, type Digest } from '../../model/artifact.ts'
import type { Clock } from '../../model/clock.ts'

const PATIENCE_MS = 600_000
const LOOK_EVERY_MS = 10_000
/**
 * Harbor looks 20 times, every 20 s, whether it has what an index lists, then stores an index of what there is
 * (src/controller/proxy/manifestcache.go); a minute for storing it.
 */
const INDEX_SETTLED_MS = 20 * 20_000 + 60_000
const MAX_CHILDREN = 100

/** What pulling through takes. */
export interface ProxyPorts {
  readonly api: HarborApi
  readonly distribution: Distribution
  readonly clock: Clock
  /** Manifests that are asked for at once. */
  readonly width: number
}

/** An artifact of a proxy-cache project as it is upstream. */
interface Upstream {
  /** With `library/` where Docker Hub puts it. */
  readonly repository: string
  readonly digest: Digest
  /** Of an index, all that it lists, attestations too; undefined for a single manifest. */
  readonly children: readonly Digest[] | undefined
}

/** An index in Harbor's own listing. */
interface Stored {
  readonly digest: Digest
  readonly children: readonly Digest[]
}

/**
 * Has a proxy-cache project fetch an artifact, and waits until its API shows it (contracts/kraken-and-registries.md
 * §4.5). Of an index everything that it lists is fetched: Harbor keeps only what it has by then.
 *
 * The tag comes first: a HEAD of it has Harbor attach the tag once the artifact is there, though not any more when it
 * has read the index. Nobody but Harbor tells what the index lists, so it comes before its manifests, which are asked
 * for at once: Harbor waits 400 s for them. A digest is never asked for by HEAD, for Harbor would attach an empty tag.
 *
 * @returns what Harbor stored: of an index other bytes than upstream's, when it was trimmed or only written anew
 * @throws {EdgeError} PH6001 when upstream does not answer, PH6003 for what it does not have, PH6009 after ten minutes
 */
export async function pullThrough(
  repository: string,
  reference: string,
  ports: ProxyPorts,
  signal: AbortSignal,
): Promise<Digest> {
  const { clock } = ports
  const begunAt = clock.now()
  const named = await resolve(repository, reference, ports, signal)
  if (await isStored(named, ports, signal)) return named.digest
  const upstream = await fetchManifest(named, ports, signal)
  const { children } = upstream
  const before = children === undefined ? [] : await storedIndexes(upstream.repository, ports, signal)
  if (children !== undefined) {
    const whole = writtenFor(children, before, before)
    if (whole !== undefined) return whole
    await fetchChildren(upstream.repository, children, ports, signal)
  }
  for (;;) {
    if (await isStored(upstream, ports, signal)) return upstream.digest
    const waitedMs = clock.now() - begunAt
    if (children !== undefined) {
      const now = await storedIndexes(upstream.repository, ports, signal)
      const found = writtenFor(children, now, waitedMs < INDEX_SETTLED_MS ? before : [])
      if (found !== undefined) return found
    }
    if (waitedMs >= PATIENCE_MS) throw await late(upstream, reference, ports, signal)
    await clock.sleepUntil(clock.now() + LOOK_EVERY_MS, signal)
  }
}

/**
 * Which of the stored indexes Harbor wrote for an upstream index: one that lists all of it, else the one that lists
 * most and was not there before, for Harbor may still write a better one.
 */
export function writtenFor(
  children: readonly Digest[],
  stored: readonly Stored[],
  before: readonly Stored[],
): Digest | undefined {
  const wanted = new Set(children)
  const known = new Set(before.map(({ digest }) => digest))
  const [best] = stored
    .filter((index) => index.children.length > 0 && index.children.every((child) => wanted.has(child)))
    .filter((index) => new Set(index.children).size === wanted.size || !known.has(index.digest))
    .sort((a, b) => b.children.length - a.children.length)
  return best?.digest
}

/** What a tag is upstream, and where Harbor keeps the repository. */
async function resolve(
  repository: string,
  reference: string,
  ports: ProxyPorts,
  signal: AbortSignal,
): Promise<Pick<Upstream, 'repository' | 'digest'>> {
  const { who } = ports.api.http
  if (reference.startsWith('sha256:')) return { repository, digest: parseDigest(reference) }
  const head = await ask('HEAD', repository, checkedTag(reference, who), ports, signal)
  const digest = digestIn(head.answer.headers, 'docker-content-digest', who)
  return { repository: head.repository, digest }
}

async function fetchManifest(
  { repository, digest }: Pick<Upstream, 'repository' | 'digest'>,
  ports: ProxyPorts,
  signal: AbortSignal,
): Promise<Upstream> {
  const { who } = ports.api.http
  const got = await ask('GET', repository, digest, ports, signal)
  if (digestOf(got.answer.bytes) !== digest)
    throw new EdgeError('unintelligible', 'PH6008', `${who} serves other bytes as ${repository}@${digest}`)
  const listed = field(parseJson(got.answer.bytes), 'manifests')
  if (!Array.isArray(listed)) return { repository: got.repository, digest, children: undefined }
  if (listed.length > MAX_CHILDREN)
    throw new EdgeError(
      'unintelligible',
      'PH6005',
      `${who}: ${repository}@${digest} lists more than ${MAX_CHILDREN} manifests`,
    )
  const children = [...new Set(listed.map((one) => digestIn(one, 'digest', who)))]
  return { repository: got.repository, digest, children }
}

/** Those that upstream does not have are left out, as Harbor leaves them out. */
async function fetchChildren(
  repository: string,
  children: readonly Digest[],
  ports: ProxyPorts,
  signal: AbortSignal,
): Promise<void> {
  await inParallel(children, ports.width, async (digest) => {
    try {
      await ask('GET', repository, digest, ports, signal)
    } catch (error) {
      if (!(error instanceof EdgeError) || error.code !== 'PH6003') throw error
    }
  })
}

/** Asks for a manifest, where Docker Hub keeps it: Harbor sends `hub/nginx` on to `hub/library/nginx`. */
async function ask(
  method: 'GET' | 'HEAD',
  repository: string,
  reference: string,
  ports: ProxyPorts,
  signal: AbortSignal,
): Promise<{ readonly repository: string; readonly answer: HttpAnswer }> {
  const { http } = ports.api
  const send = (name: string) => {
    const url = `/v2/${checkedRepository(name, http.who)}/manifests/${reference}`
    // As a page: upstream answers late.
    const request = { method, url, kind: 'page', headers: { accept: MANIFEST_TYPES } } as const
    return ports.distribution.send(request, pullScope(name), signal)
  }
  const first = await send(repository)
  const moved = isRedirect(first.status) ? repositoryIn(first.headers['location'], repository) : undefined
  const answer = moved === undefined ? first : await send(moved)
  if (answer.status !== 200) throw await refusalOf(answer, repository, reference, ports, signal)
  return { repository: moved ?? repository, answer }
}

/** Of the redirect only the name is taken, and only one of the same project. */
function repositoryIn(location: string | undefined, repository: string): string | undefined {
  const path = URL.parse(location ?? '', 'http://here')?.pathname ?? ''
  const [project, name] = repository.split('/')
  const moved = /^\/v2\/(.+)\/manifests\/[^/]+$/.exec(path)?.[1]
  return moved === `${project ?? ''}/library/${name ?? ''}` ? moved : undefined
}

async function refusalOf(
  answer: HttpAnswer,
  repository: string,
  reference: string,
  { api, clock }: ProxyPorts,
  signal: AbortSignal,
): Promise<EdgeError> {
  const { who } = api.http
  const { project } = split(repository, who)
  const what = `pull ${repository} (${reference}) through the proxy cache`
  if (answer.status === 429) {
    const why = `${who} cannot ${what} now (429): upstream grants no more, or max_upstream_conn of project ${project} is used up; raise it, or give its registry an account`
    return new EdgeError('unavailable', 'PH6001', why, { retryAfterMs: retryAfterMs(answer.headers, clock.now()) })
  }
  if (answer.status !== 404) return api.http.refusal(answer, what, PULL)
  const upstream = await upstreamStatus(project, api, signal)
  if (upstream !== undefined && upstream !== 'healthy') {
    const why = `${who} cannot ${what}: it takes the upstream of project ${project} for ${upstream} and serves only what it holds; look at its registry endpoint in Harbor`
    return new EdgeError('unavailable', 'PH6001', why)
  }
  const why = `${who} cannot ${what} (404): upstream does not have it, Harbor does not reach upstream, or the filter of project ${project} leaves it out`
  return new EdgeError('rejected', 'PH6003', why)
}

/** `healthy` or not; undefined when the account may not know, for it takes a permission of the system. */
async function upstreamStatus(project: string, api: HarborApi, signal: AbortSignal): Promise<string | undefined> {
  const about = await api.send({ path: projectPath(project), kind: 'detail' }, signal)
  const id = field(parseJson(about.bytes), 'registry_id')
  if (about.status !== 200 || !Number.isSafeInteger(id) || id === 0) return undefined
  const answer = await api.send({ path: `/registries/${String(id)}`, kind: 'detail' }, signal)
  const status = answer.status === 200 ? field(parseJson(answer.bytes), 'status') : undefined
  return typeof status === 'string' ? excerpt(status, 40) : undefined
}

async function isStored(
  { repository, digest }: Pick<Upstream, 'repository' | 'digest'>,
  { api }: ProxyPorts,
  signal: AbortSignal,
): Promise<boolean> {
  const { project, name } = split(repository, api.http.who)
  const path = `${artifactsPath(project, name)}/${digest}?with_tag=false`
  const what = `look whether ${repository}@${digest} is cached`
  return (await api.find({ path, what, needs: 'artifact:read on the project', kind: 'detail' }, signal)) !== undefined
}

/** The indexes of a repository, the youngest 100 artifacts looked at. None for a repository that is not there yet. */
async function storedIndexes(repository: string, { api }: ProxyPorts, signal: AbortSignal): Promise<Stored[]> {
  const { who } = api.http
  const { project, name } = split(repository, who)
  const path = `${artifactsPath(project, name)}?with_tag=false&sort=-push_time&page=1&page_size=${PAGE_SIZE}`
  const question = { what: `list what is cached of ${repository}`, needs: 'artifact:list on the project' }
  const answer = await api.send({ path, kind: 'page' }, signal)
  if (answer.status === 404) return []
  return entriesOf(answer, question, api).map((item) => ({
    digest: digestIn(item, 'digest', who),
    children: listIn(field(item, 'references'), who).map((child) => digestIn(child, 'child_digest', who)),
  }))
}

async function late(
  { repository, children }: Upstream,
  reference: string,
  ports: ProxyPorts,
  signal: AbortSignal,
): Promise<EdgeError> {
  const { who } = ports.api.http
  const parts = children ?? []
  const stored = await inParallel(parts, ports.width, (part) => isStored({ repository, digest: part }, ports, signal))
  const some = children && `, ${stored.filter(Boolean).length} of the ${parts.length} manifests of its index are there`
  const why = `${who} served ${repository} (${reference}) and has not stored it after ten minutes${some ?? ''}: upstream may be slow, or the project full`
  return new EdgeError('unavailable', 'PH6009', why)
}
