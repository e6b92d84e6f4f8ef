import type { Applied } from '../store/store.ts'
import type { Plan } from './plan.ts'

/** In a commit's subject: yes, we mean it. */
export const ACKNOWLEDGED = '[preheatd: delete]'

/** Less than that vanishes by intent every day. */
const FEW = 10

/**
 * Why a plan is not applied although it is valid: nothing, or less than half, would be left of what is in force. A wrong
 * path, a bad merge or an emptied repository looks like that, and what is deleted is not run any more. Undefined: it may
 * be applied.
 */
export function massDeletion({ config, objects }: Plan, current: Applied | undefined): string | undefined {
  const had = current?.objects.length ?? 0
  const gone = had - objects.length
  const isMost = gone >= FEW && gone * 2 > had
  const isAll = had > 0 && objects.length === 0
  if ((!isMost && !isAll) || config.subject.includes(ACKNOWLEDGED)) return undefined
  return `commit ${config.commit.slice(0, 12)} would leave ${objects.length} of ${had} objects; what was applied stays in force until a commit whose subject holds ${ACKNOWLEDGED}`
}
