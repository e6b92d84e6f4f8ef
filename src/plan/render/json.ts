import { formatInstant } from '../../model/duration.ts'
import type { Change } from '../diff.ts'
import type { Plan } from '../plan.ts'
import { totals, type Preview } from '../preview.ts'
import { brokenOf, summaryLine, type PlanContext } from './words.ts'

/**
 * A plan for programs, one JSON document with a line break at its end. `formatVersion` 1.x only ever gains fields:
 *
 * - `base` (null: everything is new), `commit`, `instance`, `warmth` (null: not asked): where the plan comes from
 * - `summary`: `create`, `update`, `delete`, `unchanged`, `stalled`, `invalid`, `retargeted`; and of the images
 *   `images`, `files` (since 1.2; their sizes nobody knows), `sizeBytes`, `skipped`; `line` is the last line of the text
 * - `changes[]`: `action` (create, update, delete), `key`, `kind`, `name`, `file`, `line`,
 *   `fields[]` of `path`, `before`, `after` (null: does not stand there)
 * - `next[]`: `key`, `policy`, `timeZone`, `at[]` (RFC 3339, UTC)
 * - `retargeted[]`: `policy`, `before[]`, `after[]` (names of providers)
 * - `broken[]`: `name`, `kept` (in force as it was), `findings[]`
 * - `diagnostics[]`: `severity`, `code`, `file`, `line`, `column`, `message`, `help`, `key`
 * - `previews[]`: `policy`, `registry`, `error`, `blocked` (null, or `code` and `message`),
 *   `items[]` of `reference` (a file's URL), `tags[]`, `digest` (null: a file), `provider`, `action` (preheat, skip), `sizeBytes` (null: unknown),
 *   `reason`; `leftOut[]` of `reference`, `reason`, `count`
 * - `providers[]`: `provider`, `images`, `files` (since 1.2), `sizeBytes` to preheat in all
 * - `engines[]` (since 1.1): `provider`, `version` (null: not told), `ignored[]` (settings that it would drop without a
 *   word), `doubtfulScopes[]` (since 1.3; wanted ones that it may refuse), `error` (null, or `code` and `message`: it could not be asked)
 */
export function renderJson(plan: Plan, previews: readonly Preview[], context: PlanContext): string {
  const { images, files, sizeBytes, skipped, providers } = totals(previews)
  const count = (action: Change['action']) => plan.changes.filter((one) => one.action === action).length
  const document = {
    formatVersion: '1.3',
    base: context.base ?? null,
    commit: plan.config.commit,
    instance: context.instance ?? null,
    warmth: context.warmth ?? null,
    summary: {
      create: count('create'),
      update: count('update'),
      delete: count('delete'),
      unchanged: plan.unchanged,
      stalled: plan.stalled.length,
      invalid: plan.invalid.length,
      retargeted: plan.retargeted.length,
      images,
      files,
      sizeBytes,
      skipped,
      line: summaryLine(plan, previews),
    },
    changes: plan.changes.map(({ action, key, kind, name, file, line, fields }) => ({
      action,
      key,
      kind,
      name,
      file,
      line,
      fields: fields.map(({ path, before, after }) => ({ path, before: before ?? null, after: after ?? null })),
    })),
    next: plan.next.map(({ key, policy, timeZone, at }) => ({ key, policy, timeZone, at: at.map(formatInstant) })),
    retargeted: plan.retargeted.map(({ policy, before, after }) => ({ policy, before, after })),
    broken: brokenOf(plan).map(({ name, isKept, findings }) => ({ name, kept: isKept, findings })),
    diagnostics: plan.problems.map(({ severity, code, file, line, column, message, help, key }) => ({
      severity,
      code,
      file,
      line,
      column,
      message,
      help: help ?? null,
      key: key ?? null,
    })),
    previews: previews.map(({ policy, registry, error, blocked, items, leftOut }) => ({
      policy,
      registry,
      error: error ?? null,
      blocked: blocked ?? null,
      items: items.map(({ reference, tags, digest, provider, action, sizeBytes, reason }) => ({
        reference,
        tags,
        digest: digest ?? null,
        provider,
        action,
        sizeBytes: sizeBytes ?? null,
        reason,
      })),
      leftOut: leftOut.map(({ reference, reason, count }) => ({ reference, reason, count })),
    })),
    providers,
    engines: context.engines.map(({ provider, version, ignored, doubtfulScopes, error }) => ({
      provider,
      version: version ?? null,
      ignored,
      doubtfulScopes,
      error: error ?? null,
    })),
  }
  return `${JSON.stringify(document, undefined, 2)}\n`
}
