import { Secret } from '../model/secret.ts'
import { membersOf, objectsOf, segments, textOf, type Dialect } from './dialect.ts'
import type { CommitState } from './forge.ts'

const STATES: Readonly<Record<string, CommitState>> = { pending: 'pending', success: 'success', failure: 'failure' }

/**
 * GitHub and GitHub Enterprise Server.
 * @see docs.github.com/en/rest/commits/statuses
 */
export const github: Dialect = {
  descriptionLength: 140,
  headers: { accept: 'application/vnd.github+json', 'x-github-api-version': '2022-11-28' },
  api(root) {
    const { protocol, host } = new URL(root)
    const isHosted = host === 'github.com' || host.endsWith('.ghe.com')
    return isHosted ? `${protocol}//api.${host}` : `${root}/api/v3`
  },
  authorization: (token) => ({ name: 'authorization', value: new Secret(`Bearer ${token.reveal()}`) }),
  list: (repository, commit) => `/repos/${segments(repository)}/commits/${commit}/status?per_page=100`,
  listed: (body) =>
    objectsOf(membersOf(body)['statuses']).map(({ context, state, description }) => ({
      context: textOf(context),
      state: STATES[textOf(state)],
      description: textOf(description),
    })),
  create: ({ commit, context, state, description, url }, { repository }) => ({
    path: `/repos/${segments(repository)}/statuses/${commit}`,
    body: { state, context, description, target_url: url },
  }),
  standsAlready: () => false,
}
