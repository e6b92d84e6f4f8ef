import { Secret } from '../model/secret.ts'
import { membersOf, objectsOf, segments, textOf, type Dialect } from './dialect.ts'
import type { CommitState } from './forge.ts'

const STATES: Readonly<Record<string, CommitState>> = { pending: 'pending', success: 'success', failure: 'failure' }

/**
 * Gitea and Forgejo. A status that is listed calls its state `status`.
 * @see go-gitea/gitea modules/structs/status.go
 */
export const gitea: Dialect = {
  descriptionLength: 255,
  headers: { accept: 'application/json' },
  api: (root) => `${root}/api/v1`,
  authorization: (token) => ({ name: 'authorization', value: new Secret(`token ${token.reveal()}`) }),
  list: (repository, commit) => `/repos/${segments(repository)}/commits/${commit}/status?limit=100`,
  listed: (body) =>
    objectsOf(membersOf(body)['statuses']).map(({ context, status, description }) => ({
      context: textOf(context),
      state: STATES[textOf(status)],
      description: textOf(description),
    })),
  create: ({ commit, context, state, description, url }, { repository }) => ({
    path: `/repos/${segments(repository)}/statuses/${commit}`,
    body: { state, context, description, target_url: url },
  }),
  standsAlready: () => false,
}
