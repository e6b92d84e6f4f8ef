import { parseFileUrl, type Digest, type FileUrl, type Subject } from '../model/artifact.ts'
import type { Snapshot } from '../model/execution.ts'
import { appraise, judgeContent } from './appraise.ts'
import { choose, type Choice, type ChoosePorts } from './choose.ts'
import { judgePresence, judgeScan } from './criteria.ts'
import { explainFilters, type Verdict } from './select.ts'
import { survey } from './survey.ts'

/** Why one tag is preheated or is not. */
interface Explanation {
  /** With the project. */
  readonly repository: string
  /** Undefined for an artifact that the policy names by digest. */
  readonly tag: string | undefined
  /** Undefined where no filter wants the tag and the registry does not say. */
  readonly digest: Digest | undefined
  /** In the order in which the rules are asked; those after the one that decided are there as far as they cost nothing. */
  readonly verdicts: readonly Verdict[]
  /** The first that says `out`; undefined: it is in. */
  readonly decided: Verdict | undefined
  /** Of what is in, what each provider would get; empty where the execution as a whole is Blocked. */
  readonly targets: readonly TargetExplanation[]
}

interface TargetExplanation {
  readonly provider: string
  readonly action: 'preheat' | 'skip'
  readonly reason: string
}

/** What a run of the policy would come to now, and why, artifact by artifact. */
export interface Explained {
  readonly choice: Choice
  readonly explanations: readonly Explanation[]
  /** Files, which no rule leaves out. */
  readonly files: readonly FileExplanation[]
}

interface FileExplanation {
  readonly file: FileUrl
  readonly targets: readonly TargetExplanation[]
}

/** Chooses as an execution would, and tells of every listed tag what each rule says of it. */
export async function explain(
  snapshot: Snapshot,
  asked: (repository: string, tag: string | undefined, digest: Digest | undefined) => boolean,
  ports: ChoosePorts,
  signal: AbortSignal,
): Promise<Explained> {
  const { policy } = snapshot
  const choice = await choose('explain', snapshot, 'preheat', ports, signal)
  const { candidates, demands, wanted } = await survey(snapshot, ports.source, ports.since, signal)
  const byTag = new Map(wanted.flatMap((one) => one.tags.map((tag) => [`${one.repository}:${tag}`, one] as const)))
  const platforms = policy.platforms

  const explanations: Explanation[] = []
  for (const { candidate, tag, verdicts } of explainFilters(candidates, policy.filters)) {
    const { repository } = candidate
    const one = byTag.get(`${repository}:${tag}`)
    const digest = one?.digest ?? candidate.digest
    if (!asked(repository, tag, digest)) continue
    const all: Verdict[] = one?.isNamed === true ? [NAMED] : [...verdicts]
    if (one === undefined) {
      const presence = candidate.signatures && judgePresence(demands, candidate.signatures)
      const scan = candidate.scan && judgeScan(demands, candidate.scan, ports.now)
      all.push(...[presence, scan].filter((verdict) => verdict !== undefined))
      if (all.every(({ says }) => says !== 'out')) all.push(GONE)
    } else {
      for await (const verdict of appraise(one, demands, platforms, ports, signal)) all.push(verdict)
      if (all.every(({ says }) => says !== 'out')) {
        const content = await ports.source.content(repository, one.digest, signal)
        all.push(judgeContent(content, { artifact: one, platforms }, policy.filters))
      }
    }
    explanations.push(explanationOf(choice, repository, tag, digest, all))
  }
  const listed = new Set(explanations.map(({ repository, tag }) => `${repository}:${tag ?? ''}`))
  for (const one of wanted.filter(({ isNamed }) => isNamed)) {
    const [tag] = one.tags
    if (listed.has(`${one.repository}:${tag ?? ''}`) || !asked(one.repository, tag, one.digest)) continue
    const all: Verdict[] = [NAMED]
    for await (const verdict of appraise(one, demands, platforms, ports, signal)) all.push(verdict)
    explanations.push(explanationOf(choice, one.repository, tag, one.digest, all))
  }
  const files = policy.files
    .map(parseFileUrl)
    .filter((file) => asked(file, undefined, undefined))
    .map((file) => ({
      file,
      targets: choice.kind === 'chosen' ? targetsAmong(choice, (one) => 'file' in one && one.file === file) : [],
    }))
  return { choice, explanations, files }
}

const NAMED: Verdict = { rule: 'named', says: 'in', message: 'it is named', field: 'spec.artifacts' }
const GONE: Verdict = { rule: 'gone', says: 'out', message: 'was deleted since it was listed', field: undefined }

function explanationOf(
  choice: Choice,
  repository: string,
  tag: string | undefined,
  digest: Digest | undefined,
  verdicts: readonly Verdict[],
): Explanation {
  const decided = verdicts.find(({ says }) => says === 'out')
  const targets = decided === undefined && choice.kind === 'chosen' ? targetsOf(choice, repository, digest) : []
  return { repository, tag, digest, verdicts, decided, targets }
}

function targetsOf(
  choice: Extract<Choice, { kind: 'chosen' }>,
  repository: string,
  digest: Digest | undefined,
): TargetExplanation[] {
  return targetsAmong(choice, (one) => !('file' in one) && one.repository === repository && one.digest === digest)
}

function targetsAmong(
  { tasks, skips }: Extract<Choice, { kind: 'chosen' }>,
  isMeant: (subject: Subject) => boolean,
): TargetExplanation[] {
  const isIt = ({ subject }: { readonly subject: Subject }) => isMeant(subject)
  return [
    ...tasks.filter(isIt).map(({ provider, error }) => ({
      provider,
      action: 'preheat' as const,
      reason: error === undefined ? 'not known warm' : `${error.code} ${error.message}`,
    })),
    ...skips.filter(isIt).map(({ provider, reason }) => ({ provider, action: 'skip' as const, reason })),
  ]
}
