import { parseDigest } from '../model/artifact.ts'
import type { NamedArtifact } from '../model/policy.ts'

// distribution/reference, without the domain; SHA-256 is the one algorithm that registries and engines share.
const COMPONENT = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*'
const ARTIFACT = new RegExp(
  `^(?<name>${COMPONENT}(?:/${COMPONENT})*)(?::(?<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})|@(?<digest>sha256:[0-9a-f]{64}))$`,
)
const HOST = /^(?:https?:\/\/)?(?<host>[^/@]*:[0-9]+|localhost|[^/:@.][^/:@]*\.[^/:@]*[^/:@.])\/(?=.)/
const SCHEME = /^https?:\/\//

/** `nginx:1.27` or `app@sha256:…`; undefined for anything else. */
export function parseArtifactName(text: string): NamedArtifact | undefined {
  const { name, tag, digest } = ARTIFACT.exec(text)?.groups ?? {}
  if (name === undefined) return undefined
  if (tag !== undefined) return { name, reference: { tag } }
  return digest === undefined ? undefined : { name, reference: { digest: parseDigest(digest) } }
}

/** What is wrong with the name of an artifact, or only odd, and what may have been meant. */
export interface ArtifactNameFinding {
  readonly severity: 'error' | 'warning'
  /** The end of a sentence. */
  readonly message: string
  /** A name that is right. */
  readonly suggestion: string | undefined
}

/**
 * Looks at one entry of `artifacts`. A repository may be called like its project or like a host, so that only what
 * cannot be one is an error.
 * @param hosts of the registry, `harbor.example.com:8443`
 */
export function checkArtifactName(
  text: string,
  project: string | undefined,
  hosts: readonly string[],
): ArtifactNameFinding | undefined {
  const host = HOST.exec(text)?.groups?.['host']
  const bare = host === undefined ? text : text.slice(text.indexOf(host) + host.length + 1)
  const meant = project !== undefined && bare.startsWith(`${project}/`) ? bare.slice(project.length + 1) : bare
  const suggestion = [meant, meant.replace(/:[^:@/]*(?=@)/, ''), `${meant}:latest`].find(
    (one) => one !== text && parseArtifactName(one) !== undefined,
  )
  if (parseArtifactName(text) === undefined) {
    const message =
      host !== undefined || SCHEME.test(text)
        ? 'must be without scheme and host: the registry of the policy is meant'
        : 'must be name:tag or name@sha256:…, in lower case'
    return { severity: 'error', message, suggestion }
  }
  if (host !== undefined && hosts.includes(host))
    return { severity: 'error', message: 'must be without the host of the registry', suggestion }
  if (host !== undefined)
    return { severity: 'warning', message: `begins with ${host}, which looks like a host`, suggestion }
  if (meant !== bare)
    return { severity: 'warning', message: `begins with the project, which is put before it anyway`, suggestion }
  return undefined
}
