import { createServer, type ServerResponse } from 'node:http'
import { artifactsOf, PROJECT } from './artifacts.ts'
import { listenAsStub, tokenOf } from './stub.ts'

/** What the registry of the bench holds. */
export interface RegistryOptions {
  readonly n: number
  /** How long its pull tokens live; undefined: it is public and has no token service. */
  readonly tokenLifeMs: number | undefined
}

/** What was asked of it. */
export interface RegistryLog {
  readonly pages: number
  readonly manifests: number
  readonly tokens: number
}

const options = JSON.parse(process.argv[2] ?? '') as RegistryOptions
const artifacts = artifactsOf(options.n)
const manifests = new Map(artifacts.map(({ digest, manifest }) => [digest, manifest]))
const digests = new Map(artifacts.map(({ repository, digest }) => [repository, digest]))
const log = { pages: 0, manifests: 0, tokens: 0 }

/** Harbor's listing of a project, its distribution API and its token service. */
function serve(
  path: string,
  query: URLSearchParams,
  authorization: string | undefined,
  response: ServerResponse,
): void {
  if (path === '/service/token') {
    log.tokens += 1
    const lifeS = (options.tokenLifeMs ?? 0) / 1000
    json(response, { token: tokenOf(Date.now()), expires_in: lifeS })
  } else if (path.startsWith('/v2/')) {
    if (options.tokenLifeMs !== undefined && authorization === undefined) {
      const realm = `http://${response.req.headers.host ?? ''}/service/token`
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="bench"` }).end()
      return
    }
    const [, repository = '', reference = ''] = /^\/v2\/(.+)\/manifests\/(.+)$/.exec(path) ?? []
    const digest = reference === 'v1' ? (digests.get(repository) ?? '') : reference
    const manifest = manifests.get(digest)
    if (manifest !== undefined) {
      log.manifests += 1
      const headers = { 'content-type': 'application/vnd.oci.image.manifest.v1+json', 'docker-content-digest': digest }
      response.writeHead(200, headers).end(response.req.method === 'HEAD' ? undefined : manifest)
    } else response.writeHead(path === '/v2/' ? 200 : 404).end()
  } else if (path === `/api/v2.0/projects/${PROJECT}`) {
    json(response, { name: PROJECT, metadata: { public: 'true' } })
  } else if (path === `/api/v2.0/projects/${PROJECT}/artifacts`) {
    log.pages += 1
    const size = Number(query.get('page_size') ?? 10)
    // `q=…,id=[101~]`: what comes after the hundredth.
    const from = Number(/\bid=\[(\d+)~\]/.exec(query.get('q') ?? '')?.[1] ?? 1) - 1
    const rows = artifacts.slice(from, from + size).map(({ repository, digest }, i) => ({
      id: from + i + 1,
      repository_name: repository,
      digest,
      type: 'IMAGE',
      tags: [{ name: 'v1' }],
      labels: null,
    }))
    json(response, rows, { 'x-total-count': String(artifacts.length - from) })
  } else {
    // The version among them.
    const isInfo = path === '/api/v2.0/systeminfo'
    if (isInfo) json(response, { harbor_version: 'v2.14.0-bench' })
    else response.writeHead(404).end()
  }
}

function json(response: ServerResponse, value: unknown, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value))
}

await listenAsStub(
  createServer((request, response) => {
    const [path = '', query] = (request.url ?? '').split('?')
    serve(path, new URLSearchParams(query), request.headers.authorization, response)
  }),
  (): RegistryLog => log,
)
