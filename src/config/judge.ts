import type { Identified, State } from './declared.ts'
import { rulesOfAll, rulesOfOne, type Complaint } from './rules.ts'

/** What the rules found, and what of it holds on in the next state. */
export interface Judged {
  readonly complaints: readonly Complaint[]
  readonly around: Around
  /** What {@link rulesOfOne} found. */
  readonly ofPolicies: ReadonlyMap<Identified, readonly Complaint[]>
}

/** What else than itself decides about a policy in {@link rulesOfOne}. */
type Around = Omit<State, 'policies' | 'runs'>

/**
 * Every finding of every rule. A policy that stands in both states is not judged again by what concerns it alone, unless
 * what is around it changed: the 10,000 policies of `test/bench/policies.ts` take 0.33 s anew, and 0.01 s where none
 * changed (processor time at 2.6 GHz, Node 20, medians of 27).
 * @param before of the state before this one
 */
export function judge(state: State, before?: Judged): Judged {
  // A broken policy is nothing that another one could name.
  const { policies, runs: _, ...rest } = state
  const around = { ...rest, broken: state.broken.filter(({ kind }) => kind === 'Registry' || kind === 'Provider') }
  const known = before !== undefined && isSameAround(before.around, around) ? before.ofPolicies : undefined
  const fresh = policies.filter((policy) => known?.has(policy) !== true)
  const complaints = rulesOfAll.flatMap((rule) => rule(state))
  const ofPolicies = new Map<Identified, readonly Complaint[]>(policies.map((one) => [one, known?.get(one) ?? []]))
  for (const complaint of rulesOfOne.flatMap((rule) => rule({ ...state, ...around, policies: fresh }))) {
    const others = ofPolicies.get(complaint.on)
    if (others === undefined) complaints.push(complaint)
    else ofPolicies.set(complaint.on, [...others, complaint])
  }
  return { complaints: [...complaints, ...[...ofPolicies.values()].flat()], around, ofPolicies }
}

function isSameAround(a: Around, b: Around): boolean {
  return (
    a.hasUnreadable === b.hasUnreadable &&
    areSame(a.registries, b.registries) &&
    areSame(a.providers, b.providers) &&
    areSame(a.broken, b.broken) &&
    a.types === b.types &&
    a.attachments === b.attachments
  )
}

function areSame(a: readonly Identified[], b: readonly Identified[]): boolean {
  return a.length === b.length && a.every(({ document, file }, i) => document === b[i]!.document && file === b[i]!.file)
}
