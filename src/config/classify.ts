import type { Kind } from '../model/resource.ts'
import { errorAt, errorAtKey, type Finding } from './finding.ts'
import { nearest } from './nearest.ts'

const API_VERSION = 'preheatd.io/v1alpha1'
const GROUP = 'preheatd.io'
const KINDS: readonly Kind[] = ['Registry', 'Provider', 'PreheatPolicy', 'PreheatRun']
const LATER = ['Tenant', 'HarborUpstream', 'HarborProject', 'HarborScanner', 'HarborGarbageCollection', 'Notification']

export type Classified =
  | { readonly is: 'ours'; readonly kind: Kind }
  | { readonly is: 'foreign' }
  | { readonly is: 'refused'; readonly finding: Finding }

/**
 * Whether a document is one of ours, somebody else's, or a near miss of ours that would be ignored to everybody's
 * surprise. `Registry` and `Provider` are kinds of other groups too; ours without any group is a miss, and a kind that
 * begins with Preheat is ours wherever it stands.
 */
export function classify(value: Readonly<Record<string, unknown>>): Classified {
  const { apiVersion, kind } = value
  if (apiVersion === API_VERSION) return ofOurGroup(value, kind)
  const isOurKind = (KINDS as readonly unknown[]).includes(kind)
  if (apiVersion === undefined)
    return isOurKind ? refused(errorAtKey([], 'PH2002', 'apiVersion is missing', HELP)) : { is: 'foreign' }
  const text = typeof apiVersion === 'string' ? apiVersion : ''
  const group = text.split('/')[0]!
  const isNear = nearest(group, [GROUP]) !== undefined
  const isMiss = isOurKind && (!text.includes('/') || String(kind).startsWith('Preheat'))
  if (!isNear && !isMiss) return { is: 'foreign' }
  return refused(errorAt(['apiVersion'], 'PH2005', 'apiVersion is no version of preheatd.io', HELP))
}

const HELP = `Write apiVersion: ${API_VERSION}.`

function ofOurGroup(value: Readonly<Record<string, unknown>>, kind: unknown): Classified {
  if (kind === undefined) return refused(errorAtKey([], 'PH2002', 'kind is missing'))
  const ours = KINDS.find((one) => one === kind)
  if (ours !== undefined) return { is: 'ours', kind: ours }
  // Somebody may look at the reports on a branch that holds the configuration too.
  if (kind === 'ExecutionReport') return { is: 'foreign' }
  const word = typeof kind === 'string' ? kind : ''
  if (LATER.includes(word)) return refused(errorAt(['kind'], 'PH9001', `kind: ${word} is not built yet`))
  if (word === 'DaemonConfig')
    return refused(
      errorAt(
        ['kind'],
        'PH2004',
        'DaemonConfig is no resource',
        'Keep preheatd.yaml out of the config repository, or name it in .preheatdignore.',
      ),
    )
  if (word === 'List')
    return refused(
      'items' in value
        ? errorAt(['items'], 'PH2003', 'items must be array')
        : errorAtKey([], 'PH2002', 'items is missing'),
    )
  const near = nearest(word, KINDS)
  return refused(errorAt(['kind'], 'PH2004', 'kind is none of preheatd.io', near && `Did you mean ${near}?`))
}

function refused(finding: Finding): Classified {
  return { is: 'refused', finding }
}
