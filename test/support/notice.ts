import { FORGE_COMMIT } from '../doubles/forge.ts'
import { EXAMPLE_AT } from './examples.ts'
import type { Notice } from '../../src/model/notice.ts'

export function notice(overrides: Partial<Notice> = {}): Notice {
  return {
    severity: 'error',
    reason: 'ExecutionFailed',
    object: {
      kind: 'PreheatPolicy',
      name: 'library/release-images',
      key: 'PreheatPolicy/harbor/library/release-images',
    },
    at: EXAMPLE_AT,
    message: 'Failed: PH6001 registry harbor does not answer',
    executionId: '20261121T020000Z-3f9a1c07',
    revision: FORGE_COMMIT,
    url: undefined,
    ...overrides,
  }
}
