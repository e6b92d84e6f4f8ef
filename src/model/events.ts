import type { EndedExecution, Execution } from './execution.ts'
import type { Problem } from './problem.ts'
import type { Task } from './task.ts'
import type { Code } from './codes.ts'

/** Everything that the daemon announces. Logs and progress are its listeners. */
export type Event =
  /** The source was looked at and had not moved. */
  | { readonly name: 'source.unchanged'; readonly revision: string }
  /** The source could not be used; the last good commit stays in force. */
  | { readonly name: 'source.failed'; readonly state: SourceState; readonly code: Code; readonly message: string }
  /** The branch moved to a commit that does not descend from the last one. */
  | { readonly name: 'source.rewritten'; readonly from: string; readonly to: string }
  /** The state could not be read any more; it lies aside under this name, and a new one was begun. */
  | { readonly name: 'state.moved-aside'; readonly code: Code; readonly file: string; readonly message: string }
  /** A plan was applied. */
  | {
      readonly name: 'plan.applied'
      readonly revision: string
      readonly created: number
      readonly updated: number
      readonly deleted: number
      readonly stalled: number
    }
  | { readonly name: 'config.problem'; readonly problem: Problem }
  | { readonly name: 'execution.started'; readonly execution: Execution }
  /** Selection is done and its tasks are rows. */
  | {
      readonly name: 'execution.selected'
      readonly execution: Execution
      readonly tasks: number
      readonly sizeBytes: number
      /** Tasks to preheat what nobody knows the size of: files; not in `sizeBytes`. */
      readonly unsized: number
    }
  | { readonly name: 'execution.ended'; readonly execution: EndedExecution }
  | { readonly name: 'slot.missed'; readonly policyKey: string; readonly slot: number; readonly reason: string }
  | { readonly name: 'run.waiting'; readonly run: string; readonly reason: string }
  | { readonly name: 'task.changed'; readonly task: Task }
  | { readonly name: 'reports.pushed'; readonly revision: string; readonly reports: number }
  | { readonly name: 'reports.failed'; readonly code: Code; readonly message: string; readonly waiting: number }
  /** A provider stopped answering, and its tasks wait until then; undefined: it answers again. */
  | { readonly name: 'provider.circuit'; readonly provider: string; readonly openUntil: number | undefined }
  /** A registry could not be looked at for events; webhooks are heard all the same. */
  | {
      readonly name: 'poll.failed'
      readonly registry: string
      readonly project: string | undefined
      readonly code: Code
      readonly message: string
    }
  | { readonly name: 'loop.failed'; readonly loop: string; readonly error: unknown }

/** What is the matter with the source of the configuration. */
export type SourceState =
  | 'Unreachable'
  | 'AuthenticationFailed'
  | 'RefNotFound'
  /** Not signed by anybody who is trusted. */
  | 'VerificationFailed'
  | 'MirrorBroken'
  | 'TooLarge'
  | 'Invalid'

/** Fire and forget: a listener neither throws nor is waited for. */
export type Emit = (event: Event) => void
