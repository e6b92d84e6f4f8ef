import { Secret } from '../model/secret.ts'
import { objectsOf, textOf, type Dialect } from './dialect.ts'
import type { CommitState } from './forge.ts'

const STATES: Readonly<Record<string, CommitState>> = { pending: 'pending', success: 'success', failed: 'failure' }
const WORDS: Readonly<Record<CommitState, string>> = { pending: 'pending', success: 'success', failure: 'failed' }
/** Which state an event of the state machine leads to. */
const EVENTS: Readonly<Record<string, string>> = {
  enqueue: 'pending',
  run: 'running',
  success: 'success',
  drop: 'failed',
  cancel: 'canceled',
}

/** gitlab.com refuses a longer target_url (gitlab-org/gitlab issue 501079). */
const URL_LENGTH = 255

/**
 * GitLab. A status is an external job of a pipeline; without the pipeline's id it may get one of its own each time.
 * @see docs.gitlab.com/api/commits#set-the-pipeline-status-of-a-commit
 */
export const gitlab: Dialect = {
  descriptionLength: 255,
  headers: { accept: 'application/json' },
  api: (root) => `${root}/api/v4`,
  authorization: (token) => ({ name: 'authorization', value: new Secret(`Bearer ${token.reveal()}`) }),
  list: (repository, commit) =>
    `/projects/${encodeURIComponent(repository)}/repository/commits/${commit}/statuses?per_page=100`,
  listed: (body) =>
    objectsOf(body).map(({ name, status, description, pipeline_id: pipeline }) => ({
      context: textOf(name),
      state: STATES[textOf(status)],
      description: textOf(description),
      ...(typeof pipeline === 'number' && { pipeline }),
    })),
  create: ({ commit, context, state, description, url }, { repository, ref, pipeline }) => ({
    path: `/projects/${encodeURIComponent(repository)}/statuses/${commit}`,
    body: {
      state: WORDS[state],
      name: context,
      ref,
      description,
      target_url: url !== undefined && url.length <= URL_LENGTH ? url : undefined,
      pipeline_id: pipeline,
    },
  }),
  standsAlready(status, words) {
    const refused = /Cannot transition status via :(\w+) from :(\w+)/.exec(words)
    return status === 400 && refused !== null && EVENTS[refused[1]!] === refused[2]
  },
}
