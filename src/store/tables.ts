/**
 * The tables. Instants are bigint columns, because they exceed 2^31; a driver has to hand them back as numbers. What a
 * query filters or orders by is a column, the rest is the JSON of the model's own value in `body`.
 */
export interface Tables {
  /** Whose state it is. One row at most. */
  readonly instance: { readonly id: 1; readonly name: string }
  /** One row at most. */
  readonly applied: { readonly id: 1; readonly body: string }
  readonly objects: { readonly key: string; readonly body: string }
  readonly schedules: { readonly policy_key: string; readonly fingerprint: string; readonly until_at: number }
  /** Slots that did not run and are not in git yet. */
  readonly missed: {
    readonly policy_key: string
    readonly slot_at: number
    readonly policy: string
    readonly reason: string
  }
  readonly executions: ExecutionRow
  readonly tasks: TaskRow
  readonly ledger: {
    readonly key: string
    readonly provider: string
    readonly warm_at: number
    readonly evidence: string
  }
  /** For ever. */
  readonly used_runs: {
    readonly name: string
    readonly digest: string
    readonly execution_id: string
    readonly policy: string
    readonly used_at: number
    readonly sent: Flag
  }
  readonly pushes: { readonly at: number }
  /** Deliveries of webhooks, kept for a while so that one sent again is known. */
  readonly inbox: { readonly key: string; readonly received_at: number; readonly routed: Flag; readonly body: string }
  readonly pending_events: {
    readonly policy_key: string
    readonly repository: string
    readonly reference: string
    /** Joined by commas. */
    readonly kinds: string
    readonly since_at: number
  }
  /** What a project looked like when it was last compared. */
  readonly listings: {
    readonly registry: string
    readonly project: string
    readonly at: number
    readonly body: string
  }
  /** Workers of a shared store, each seen lately. */
  readonly replicas: { readonly worker: string; readonly seen_at: number }
  /** Of operators. `*`: all policies. */
  readonly suspensions: { readonly policy_key: string; readonly body: string }
}

/** Both databases keep it as a number. */
export type Flag = 0 | 1

export interface ExecutionRow {
  readonly id: string
  readonly policy_key: string
  readonly state: string
  readonly at: number
  readonly ended_at: number | null
  /** Its report is in git. */
  readonly sent: Flag
  readonly body: string
}

export interface TaskRow {
  readonly id: string
  readonly execution_id: string
  readonly provider: string
  readonly registry: string
  readonly state: string
  /** Null once settled. */
  readonly next_at: number | null
  /** 0: nobody has it. */
  readonly lease_until: number
  /** The worker that has it, or had it last. */
  readonly lease_owner: string | null
  /** Tasks of the same one do the same at the same engine: only one of them submits. */
  readonly share_key: string
  readonly body: string
}
