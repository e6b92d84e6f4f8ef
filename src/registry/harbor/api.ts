import { authHeader } from '../../model/auth.ts'
import { EdgeError } from '../../model/errors.ts'
import type { RegistryHttp } from '../http.ts'
import type { HttpAnswer } from '../../http.ts'
import type { ReadSecret } from '../../model/secret.ts'
import type { Registry } from '../../model/registry.ts'

/**
 * Kinds of report in the order of Harbor's swagger; the first one that there is wins (contracts/harbor.md §4.6). Every
 * scanner's report has one of the two.
 */
export const REPORT_TYPES = [
  'application/vnd.security.vulnerability.report; version=1.1',
  'application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0',
] as const

/** A question to Harbor's own API. */
export interface ApiQuestion {
  /** Below `/api/v2.0`, with the query. */
  readonly path: string
  /** As an infinitive: `read project library`. */
  readonly what: string
  /** The permission of a robot account that it takes. */
  readonly needs: string
  /** A `page` may be larger and take longer. */
  readonly kind: 'page' | 'detail'
}

/** Harbor's own API, `/api/v2.0`. */
export class HarborApi {
  readonly http: RegistryHttp
  readonly #registry: Registry
  readonly #read: ReadSecret

  constructor(registry: Registry, http: RegistryHttp, read: ReadSecret) {
    this.#registry = registry
    this.http = http
    this.#read = read
  }

  /** The answer, whatever its status. @throws {EdgeError} as {@link RegistryHttp.send} */
  send({ path, kind }: Pick<ApiQuestion, 'path' | 'kind'>, signal: AbortSignal): Promise<HttpAnswer> {
    const headers = {
      // Without this a project called 42 is looked up by its number, also for its artifacts (`ListArtifactsOfProject`).
      'x-is-resource-name': 'true',
      'x-accept-vulnerabilities': REPORT_TYPES.join(', '),
    }
    // Never a cookie: with one, Harbor wants a CSRF token (contracts/harbor.md §4.1).
    const credential = () => authHeader(this.#registry.auth, this.#read, this.http.endpoint)
    return this.http.send({ method: 'GET', url: `/api/v2.0${path}`, kind, headers, credential }, signal)
  }

  /** The JSON of a 200. @throws {EdgeError} as {@link RegistryHttp.json} */
  async ask(question: ApiQuestion, signal: AbortSignal): Promise<unknown> {
    return this.http.json(await this.send(question, signal), question.what, question.needs)
  }

  /** Likewise, undefined for a 404. */
  async find(question: ApiQuestion, signal: AbortSignal): Promise<unknown> {
    const answer = await this.send(question, signal)
    return answer.status === 404 ? undefined : this.http.json(answer, question.what, question.needs)
  }
}

/** `/projects/library` */
export function projectPath(project: string): string {
  return `/projects/${encodeURIComponent(project)}`
}

/**
 * `/projects/library/repositories/sub%252Fapp/artifacts`. Encoded twice: the router in front of Harbor takes the first
 * encoding away (contracts/harbor.md §4.5).
 */
export function artifactsPath(project: string, name: string): string {
  return `${projectPath(project)}/repositories/${encodeURIComponent(encodeURIComponent(name))}/artifacts`
}

/** Project and name of `library/sub/app`. @throws {EdgeError} PH6003 for a name that has no project */
export function split(repository: string, who: string): { readonly project: string; readonly name: string } {
  const [project = '', ...rest] = repository.split('/')
  if (project === '' || rest.length === 0)
    throw new EdgeError('rejected', 'PH6003', `${who} is a Harbor: ${repository} lacks its project`)
  return { project, name: rest.join('/') }
}
