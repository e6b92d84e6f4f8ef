import { parseDigest, type Digest } from '../../model/artifact.ts'
import { isRepositoryName, isTagName, pushedTag, type ArtifactEvent } from '../../model/delivery.ts'
import { MANIFEST_TYPES } from '../../model/media-types.ts'
import { at, listAt, textAt, type JsonObject } from './json.ts'

/** Reads one header of the request; undefined: there is none. */
export type Header = (name: string) => string | undefined

/** What one request of a registry says. */
export interface Announcement {
  /** By which the sender tells this event from others; undefined where it has no such thing. */
  readonly id: string | undefined
  readonly events: readonly ArtifactEvent[]
}

/** How a registry wrote a request, by its content type (contracts: harbor §5, kraken-and-registries §5.7). */
export type RegistryFormat = 'json' | 'cloudevents' | 'notifications'

const FORMATS: ReadonlyMap<string, RegistryFormat> = new Map([
  ['application/json', 'json'],
  ['application/cloudevents+json', 'cloudevents'],
  // Distribution 2.8, and 3.
  ['application/vnd.docker.distribution.events.v1+json', 'notifications'],
  ['application/vnd.docker.distribution.events.v2+json', 'notifications'],
])

/** The format of this media type, which has no parameters any more; undefined: none that is understood. */
export function registryFormat(mediaType: string): RegistryFormat | undefined {
  return FORMATS.get(mediaType)
}

/** The announcements of a request that is known to be authentic; what is not understood in it is left out. */
export function announcements(format: RegistryFormat, header: Header, body: JsonObject): Announcement[] {
  if (format === 'notifications') return listAt(body, 'events').map(notification)
  if (format === 'cloudevents') return [cloudEvent(textAt(body, 'type'), idOf(body), at(body, 'data'))]
  const type = header('ce-type')
  // CloudEvents in binary mode, zot's default: the attributes are headers, the body is the data.
  if (type !== undefined) return [cloudEvent(type, idOf({ source: header('ce-source'), id: header('ce-id') }), body)]
  return [{ id: undefined, events: harborEvents(HARBOR_TYPES.get(textAt(body, 'type') ?? ''), at(body, 'event_data')) }]
}

type HarborType = 'push' | 'scan'

const HARBOR_TYPES: ReadonlyMap<string, HarborType> = new Map([
  ['PUSH_ARTIFACT', 'push'],
  ['SCANNING_COMPLETED', 'scan'],
  ['harbor.artifact.pushed', 'push'],
  ['harbor.scan.completed', 'scan'],
])

/** CloudEvents: source and id together are unique. */
function idOf(attributes: unknown): string | undefined {
  const id = textAt(attributes, 'id')
  return id && `${textAt(attributes, 'source') ?? ''} ${id}`
}

function cloudEvent(type = '', id: string | undefined, data: unknown): Announcement {
  // zot's prefix is a setting, `zotregistry` where it is not set.
  if (type.endsWith('.image.updated')) return { id, events: zotEvents(data) }
  return { id, events: harborEvents(HARBOR_TYPES.get(type), data) }
}

function harborEvents(type: HarborType | undefined, data: unknown): ArtifactEvent[] {
  const repository = textAt(data, 'repository', 'repo_full_name')
  if (type === undefined || repository === undefined || !isRepositoryName(repository)) return []
  return listAt(data, 'resources').flatMap((resource) => {
    const digest = digestAt(resource, 'digest')
    if (type === 'scan') {
      const isSbom =
        textAt(data, 'scan', 'scan_type') === 'sbom' ||
        (at(resource, 'sbom_overview') !== undefined && at(resource, 'scan_overview') === undefined)
      return isSbom || digest === undefined ? [] : [{ kind: 'scan' as const, repository, digest }]
    }
    const tag = textAt(resource, 'tag')
    // Pushed by digest: the tag is the digest once more.
    if (tag === undefined || tag.startsWith('sha256:'))
      return digest === undefined ? [] : [{ kind: 'push' as const, repository, digest }]
    return pushed(repository, tag, digest)
  })
}

function zotEvents(data: unknown): ArtifactEvent[] {
  return pushed(textAt(data, 'name'), textAt(data, 'reference'), digestAt(data, 'digest'))
}

const MANIFESTS: ReadonlySet<string> = new Set(MANIFEST_TYPES.split(', '))

function notification(event: unknown): Announcement {
  const id = textAt(event, 'id')
  // Blobs are announced too, and pulls, our own included.
  const isPush = textAt(event, 'action') === 'push' && MANIFESTS.has(textAt(event, 'target', 'mediaType') ?? '')
  if (!isPush) return { id, events: [] }
  const target = at(event, 'target')
  return { id, events: pushed(textAt(target, 'repository'), textAt(target, 'tag'), digestAt(target, 'digest')) }
}

/** What a tag that was pushed means, if the names can be names. */
function pushed(repository: string | undefined, tag: string | undefined, digest: Digest | undefined): ArtifactEvent[] {
  if (repository === undefined || tag === undefined || !isRepositoryName(repository) || !isTagName(tag)) return []
  const event = pushedTag(repository, tag, digest)
  return event === undefined ? [] : [event]
}

function digestAt(value: unknown, name: string): Digest | undefined {
  const text = textAt(value, name)
  return text !== undefined && /^sha256:[0-9a-f]{64}$/.test(text) ? parseDigest(text) : undefined
}
