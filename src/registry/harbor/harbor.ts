import { artifactsPath, HarborApi, projectPath, split } from './api.ts'
import { Distribution } from '../distribution.ts'
import { EdgeError, excerpt } from '../../model/errors.ts'
import { entriesOf, pagePath, walk, type Listing } from './listing.ts'
import { field, inParallel, RegistryHttp } from '../http.ts'
import { pullThrough } from './proxy.ts'
import {
  allowlistOf,
  candidateOf,
  demandsOf,
  nameOf,
  puzzling,
  signatureKindsIn,
  vulnerabilitiesOf,
  type ProjectDemands,
} from './wire.ts'
import type { Allowlist, Vulnerability } from '../../model/vulnerability.ts'
import type { ArtifactSource, Detail, ListQuery, ProjectRules } from '../registry.ts'
import type { Candidate } from '../../model/candidate.ts'
import type { Clock } from '../../model/clock.ts'
import type { Content, Digest } from '../../model/artifact.ts'
import type { ReadSecret, Secret } from '../../model/secret.ts'
import type { Registry } from '../../model/registry.ts'
import type { SignatureKind, SignatureMaterial } from '../../model/signature.ts'
import type { TlsMaterial } from '../../http.ts'

/** A Harbor, through its own API (`/api/v2.0`): one listing a project gives tags and labels of everything. */
export class HarborSource implements ArtifactSource {
  readonly #registry: Registry
  readonly #http: RegistryHttp
  readonly #clock: Clock
  readonly #api: HarborApi
  readonly #distribution: Distribution

  constructor(registry: Registry, read: ReadSecret, clock: Clock, tls: TlsMaterial | undefined) {
    this.#registry = registry
    this.#clock = clock
    this.#http = new RegistryHttp(registry, clock, tls)
    this.#api = new HarborApi(registry, this.#http, read)
    this.#distribution = new Distribution(registry, this.#http, read, clock)
  }

  async list({ project, repositories, details }: ListQuery, signal: AbortSignal): Promise<readonly Candidate[]> {
    const name = this.#named(project)
    const only = repositories?.map((repository) => nameIn(name, repository)).filter((one) => one !== undefined)
    const artifacts =
      only === undefined
        ? ((await this.#ofProject(name, details, signal)) ??
          (await this.#inRepositories(name, await this.#repositoryNames(name, signal), details, signal)))
        : await this.#inRepositories(name, only, details, signal)
    return artifacts.filter(({ tags }) => tags.length > 0)
  }

  /** Harbor tells its version to whom it knows, and to nobody else (contracts/harbor.md §4.7). */
  async identify(signal: AbortSignal): Promise<string> {
    const question = {
      path: '/systeminfo',
      what: 'read the system info',
      needs: 'a valid account',
      kind: 'detail',
    } as const
    const info = await this.#api.ask(question, signal)
    const version = field(info, 'harbor_version')
    if (typeof version === 'string') return `Harbor ${excerpt(version, 60)}`
    const { auth } = this.#registry
    if (field(info, 'auth_mode') === undefined) throw puzzling(this.#http.who, 'answers /systeminfo without auth_mode')
    if (auth.type === 'none') return 'Harbor, asked without a credential'
    const why = `treats us as anonymous: it does not take the credential (check the secret ${auth.secret}: wrong, expired or disabled?)`
    throw new EdgeError('rejected', 'PH6002', `${this.#http.who} ${why}`)
  }

  /** Asks what a listing asks, for one entry. */
  async sample(project: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    const name = this.#named(project)
    const listing = this.#artifacts(name, `${projectPath(name)}/artifacts`, [])
    const artifacts = await this.#api.send({ path: pagePath(listing, 0, 1), kind: 'page' }, signal)
    const found =
      artifacts.status === 404
        ? await this.#firstRepository(name, signal)
        : entriesOf(artifacts, listing, this.#api).map((item) => listing.parse(item).repository)[0]
    if (found !== undefined) await this.#distribution.proveRead(found, signal)
    return found
  }

  resolve(repository: string, tag: string, signal: AbortSignal): Promise<Digest | undefined> {
    return this.#distribution.resolve(repository, tag, signal)
  }

  async projectRules(project: string | undefined, signal: AbortSignal): Promise<ProjectRules> {
    const { ownAllowlist, ...rules } = await this.#demands(this.#named(project), signal)
    return { ...rules, allowlist: ownAllowlist ?? (await this.#systemAllowlist(rules, signal)) }
  }

  /**
   * By the accessories of the very digest. That is what Harbor's gate looks at when somebody pulls it: a manifest of a
   * signed index is refused with 412 unless it is signed itself (`cosign sign --recursive`), for the gate does not look
   * at parents (src/server/middleware/contenttrust/contentrust.go). What `with_inherited_accessory` shows since 2.16
   * (`inherited_accessories`) is for people; the gate does not read it, and neither do we.
   */
  async signatureKinds(repository: string, digest: Digest, signal: AbortSignal): Promise<readonly SignatureKind[]> {
    const { project, name } = split(repository, this.#http.who)
    const question = {
      path: `${artifactsPath(project, name)}/${digest}?with_tag=false&with_accessory=true`,
      what: `read the accessories of ${repository}@${digest}`,
      needs: 'artifact:read on the project',
      kind: 'detail',
    } as const
    const kinds = signatureKindsIn(await this.#api.ask(question, signal), this.#http.who)
    return kinds ?? this.#distribution.signatureKinds(repository, digest, signal)
  }

  signatures(repository: string, digest: Digest, signal: AbortSignal): Promise<readonly SignatureMaterial[]> {
    return this.#distribution.signatures(repository, digest, signal)
  }

  async vulnerabilities(repository: string, digest: Digest, signal: AbortSignal): Promise<readonly Vulnerability[]> {
    const { project, name } = split(repository, this.#http.who)
    const question = {
      path: `${artifactsPath(project, name)}/${digest}/additions/vulnerabilities`,
      what: `read the vulnerabilities of ${repository}@${digest}`,
      needs: 'artifact-addition:read on the project',
      kind: 'page',
    } as const
    const found = vulnerabilitiesOf(await this.#api.ask(question, signal), this.#http.who)
    if (found !== undefined) return found
    const why = `${this.#http.who} has no vulnerability report of ${repository}@${digest}: scan it`
    throw new EdgeError('rejected', 'PH6003', why)
  }

  pullThrough(repository: string, reference: string, signal: AbortSignal): Promise<Digest> {
    const width = this.#registry.limits.listConcurrency
    const ports = { api: this.#api, distribution: this.#distribution, clock: this.#clock, width }
    return pullThrough(repository, reference, ports, signal)
  }

  content(repository: string, digest: Digest, signal: AbortSignal): Promise<Content> {
    return this.#distribution.content(repository, digest, signal)
  }

  authorize(repository: string, signal: AbortSignal): Promise<Secret | undefined> {
    return this.#distribution.authorize(repository, signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#http[Symbol.asyncDispose]()
  }

  /** Undefined when this Harbor has no such route: older than 2.12. */
  async #ofProject(project: string, details: readonly Detail[], signal: AbortSignal): Promise<Candidate[] | undefined> {
    try {
      return await walk(this.#artifacts(project, `${projectPath(project)}/artifacts`, details), this.#api, signal)
    } catch (error) {
      if (!(error instanceof EdgeError) || error.code !== 'PH6003') throw error
      // No such route, or no such project? Harbor's own words differ too much between versions to tell.
      await this.#demands(project, signal)
      return undefined
    }
  }

  #repositoryNames(project: string, signal: AbortSignal): Promise<string[]> {
    return walk(this.#repositories(project), this.#api, signal)
  }

  /** @param names without the project */
  async #inRepositories(
    project: string,
    names: readonly string[],
    details: readonly Detail[],
    signal: AbortSignal,
  ): Promise<Candidate[]> {
    const lists = await inParallel(names, this.#registry.limits.listConcurrency, async (name) => {
      try {
        return await walk(this.#artifacts(project, artifactsPath(project, name), details), this.#api, signal)
      } catch (error) {
        // Deleted since it was listed.
        if (error instanceof EdgeError && error.code === 'PH6003') return []
        throw error
      }
    })
    return lists.flat()
  }

  /** Of a Harbor before 2.12, which does not list a project's artifacts. */
  async #firstRepository(project: string, signal: AbortSignal): Promise<string | undefined> {
    const listing = this.#repositories(project)
    const answer = await this.#api.send({ path: pagePath(listing, 0, 1), kind: 'page' }, signal)
    const [first] = entriesOf(answer, listing, this.#api)
    return first === undefined ? undefined : `${project}/${listing.parse(first)}`
  }

  #repositories(project: string): Listing<string> {
    return {
      path: `${projectPath(project)}/repositories`,
      flags: [],
      filters: [],
      idColumn: 'repository_id',
      what: `list the repositories of project ${project}`,
      needs: 'repository:list on the project',
      parse: (item) => nameOf(field(item, 'name'), { who: this.#http.who, project }),
    }
  }

  #artifacts(project: string, path: string, details: readonly Detail[]): Listing<Candidate> {
    return {
      path,
      flags: [
        'with_tag=true',
        'with_label=true',
        // Both cost Harbor a query an artifact, and change nothing of the paging (`ListArtifactsOfProject`).
        ...(details.includes('scan') ? ['with_scan_overview=true'] : []),
        ...(details.includes('signatures') ? ['with_accessory=true'] : []),
      ],
      // The tagged ones. Accessories are in no listing (contracts/harbor.md §4.6).
      filters: ['tags=*'],
      idColumn: 'id',
      what: `list the artifacts of project ${project}`,
      needs:
        'artifact:list, tag:list and label:list on the project (403 is also what a project that is not there gets)',
      parse: (item) => candidateOf(item, { who: this.#http.who, project }, details),
    }
  }

  async #demands(project: string, signal: AbortSignal): Promise<ProjectDemands> {
    const what = `read project ${project}`
    // With the project's allowlist, which may be long.
    const question = { path: projectPath(project), what, needs: 'project:read on it', kind: 'page' } as const
    return demandsOf(await this.#api.ask(question, signal), this.#http.who)
  }

  /**
   * Nobody without an account may read it; without it less passes, never more. Where the project demands a scan, its
   * answer needs the allowlist, and a refusal is one.
   */
  async #systemAllowlist({ severity }: Pick<ProjectRules, 'severity'>, signal: AbortSignal): Promise<Allowlist> {
    if (this.#registry.auth.type === 'none' && severity === undefined) return { ids: [], expiresAt: undefined }
    const question = {
      path: '/system/CVEAllowlist',
      what: 'read the CVE allowlist of the system',
      needs: 'an account of this Harbor',
      kind: 'page',
    } as const
    return allowlistOf(await this.#api.ask(question, signal), this.#http.who)
  }

  #named(project: string | undefined): string {
    if (project !== undefined && project !== '' && project !== '.' && project !== '..') return project
    throw new EdgeError('rejected', 'PH6003', `${this.#http.who} is a Harbor: its policies need a project`)
  }
}

/** A repository's name in its project; undefined: it is of another. */
function nameIn(project: string, repository: string): string | undefined {
  return repository.startsWith(`${project}/`) ? repository.slice(project.length + 1) : undefined
}
