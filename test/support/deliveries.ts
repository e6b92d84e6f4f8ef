import { createHmac } from 'node:crypto'
import type { FakeHarbor } from '../doubles/harbor.ts'
import { addHarbor, policyYaml, providerYaml, type Site } from './site.ts'

/** What senders of webhooks prove themselves with. */
export const HOOK_SECRET = 'hook s3cret'

/** A request to a receiver of webhooks. */
export interface Hook {
  /** `/hooks/source` */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** What was pushed, or scanned. */
export interface Pushed {
  /** With the project. */
  readonly repository: string
  readonly tag: string
  readonly digest: string
}

/** Harbor's default format. @param at seconds since 1970: all that tells two pushes of one tag apart */
export function harborPush(pushed: Pushed, at: number): Hook {
  return toRegistry('application/json', {
    type: 'PUSH_ARTIFACT',
    occur_at: at,
    operator: 'robot$ci',
    event_data: { resources: [resource(pushed)], repository: repository(pushed, at) },
  })
}

/** Harbor's scanner is done with an artifact; it names no tag. */
function harborScan(pushed: Pushed, at: number): Hook {
  const { tag, ...scanned } = resource(pushed)
  const overview = { report_id: `${pushed.repository} ${tag}`, scan_status: 'Success', severity: 'Low' }
  const type = 'application/vnd.security.vulnerability.report; version=1.1'
  return toRegistry('application/json', {
    type: 'SCANNING_COMPLETED',
    occur_at: at,
    operator: 'auto',
    event_data: {
      resources: [{ ...scanned, scan_overview: { [type]: overview } }],
      repository: repository(pushed, at),
      scan: { scan_type: 'vulnerability' },
    },
  })
}

/** Harbor's other format. @param id tells deliveries apart */
function cloudEvent(pushed: Pushed, id: string): Hook {
  return toRegistry('application/cloudevents+json', {
    specversion: '1.0',
    id,
    requestid: id,
    source: '/projects/1/webhook/policies/1',
    type: 'harbor.artifact.pushed',
    datacontenttype: 'application/json',
    time: '2026-11-22T07:00:00Z',
    operator: 'robot$ci',
    data: { resources: [resource(pushed)], repository: repository(pushed, 1_680_501_893) },
  })
}

/** A notification of distribution 3, which announces each blob as well. */
function notification({ repository, tag, digest }: Pushed, id: string): Hook {
  const event = (n: number, target: object) => ({
    id: `${id}-${n}`,
    timestamp: '2026-11-22T07:00:00.1Z',
    action: 'push',
    target: { size: 1000, length: 1000, repository, ...target },
    request: { id, addr: '10.0.0.9:4711', host: 'registry.example.com', method: 'PUT', useragent: 'docker/28.0.0' },
    actor: { name: 'ci' },
    source: { addr: 'registry-0:5000', instanceID: '4c3e7a52-2a5e-4a59-8a53-7d0b0e6a7a11' },
  })
  return toRegistry('application/vnd.docker.distribution.events.v2+json', {
    events: [
      event(0, { mediaType: 'application/octet-stream', digest: `sha256:${'0'.repeat(64)}` }),
      event(1, { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, tag }),
    ],
  })
}

/** Forges whose pushes {@link forgePush} can send. */
export const FORGES = ['github', 'gitlab', 'gitea', 'bitbucket'] as const

/** A push to the branch that is watched. @param id tells deliveries apart */
export function forgePush(forge: (typeof FORGES)[number], id: string): Hook {
  const body = JSON.stringify(
    forge === 'bitbucket'
      ? { push: { changes: [{ new: { type: 'branch', name: 'main', target: { hash: id } } }] } }
      : { object_kind: 'push', ref: 'refs/heads/main', after: id },
  )
  const hex = createHmac('sha256', HOOK_SECRET).update(body).digest('hex')
  const proofs = {
    github: { 'x-github-event': 'push', 'x-github-delivery': id, 'x-hub-signature-256': `sha256=${hex}` },
    gitlab: { 'x-gitlab-event': 'Push Hook', 'x-gitlab-event-uuid': id, 'x-gitlab-token': HOOK_SECRET },
    gitea: { 'x-gitea-event': 'push', 'x-gitea-delivery': id, 'x-gitea-signature': hex },
    bitbucket: { 'x-event-key': 'repo:push', 'x-request-uuid': id, 'x-hub-signature': `sha256=${hex}` },
  }
  return { path: '/hooks/source', headers: { 'content-type': 'application/json', ...proofs[forge] }, body }
}

/** All five kinds of delivery about one artifact; two of the pushes are of the same tag. */
export function deliveriesAbout(pushed: Pushed, id: string, at: number): Hook[] {
  return [
    harborPush(pushed, at),
    cloudEvent(pushed, id),
    notification(pushed, id),
    harborPush(pushed, at + 1),
    harborScan(pushed, at + 2),
  ]
}

/** A Harbor that may send to the daemon, as may the forge, and for each project a policy that waits for its events. */
export async function declareReceivers(
  site: Site,
  harbor: FakeHarbor,
  projects: readonly string[],
  debounce: string,
): Promise<void> {
  await site.secret('hook', { token: HOOK_SECRET })
  const webhook = { secretRef: { name: 'hook' } }
  await site.repository.commit({
    'registries/harbor.yaml': await addHarbor(site, harbor, { webhook }),
    'providers/dragonfly-eu.yaml': providerYaml(site, 'dragonfly-eu', { limits: { requestsPerSecond: 1000 } }),
    ...Object.fromEntries(
      projects.map((project) => [
        `projects/${project}/on-push.yaml`,
        policyYaml('on-push', {
          project,
          trigger: { type: 'event_based', events: ['push', 'scan'], debounce, poll: '24h' },
        }),
      ]),
    ),
  })
}

/** What became of requests to receivers, by the daemon's metrics: `registries/harbor accepted` → how often. */
export async function webhookCounts(probes: string): Promise<Map<string, number>> {
  const text = await (await fetch(`${probes}/metrics`)).text()
  const series = /^preheatd_webhook_requests_total\{receiver="([^"]+)",result="([^"]+)"\} (\d+)$/gm
  return new Map(
    [...text.matchAll(series)].map(([, receiver, result, count]) => [`${receiver} ${result}`, Number(count)]),
  )
}

function toRegistry(type: string, payload: object): Hook {
  return {
    path: '/hooks/registries/harbor',
    headers: { 'content-type': type, authorization: HOOK_SECRET },
    body: JSON.stringify(payload),
  }
}

function resource({ repository, tag, digest }: Pushed) {
  return { digest, tag, resource_url: `harbor.example.com/${repository}:${tag}` }
}

function repository({ repository: full }: Pushed, at: number) {
  const [namespace = '', ...name] = full.split('/')
  return { date_created: at, name: name.join('/'), namespace, repo_full_name: full, repo_type: 'private' }
}
