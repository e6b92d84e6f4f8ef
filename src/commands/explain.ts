import { Closers } from '../closers.ts'
import { systemClock } from '../clock.ts'
import { explain as explainPolicy } from '../explain.ts'
import { EdgeError, excerpt, OperatorError } from '../model/errors.ts'
import type { ExplanationView, VerdictView } from '../model/operations.ts'
import { referenceText } from '../model/reference.ts'
import type { Settings } from '../settings.ts'
import { exit, type Exit, type Io } from './command.ts'
import { openDrivers, openLedgerOf, openSecretsOf, openSource, readerOf } from './open.ts'
import { besideDaemon, type OperatorOptions } from './operator.ts'
import { scratchFolder } from './scratch.ts'

/**
 * Why a policy's artifacts are in or out, and why it does not run: asked of the daemon that lives here, or found out
 * without one.
 * @param artifact `app:v1`, `library/app@sha256:…`, a repository; undefined: all
 * @throws {OperatorError} PH6003 for an artifact that the registry does not list
 */
export async function explain(
  policy: string,
  artifact: string | undefined,
  options: OperatorOptions,
  io: Io,
  signal: AbortSignal,
): Promise<Exit> {
  return await besideDaemon(options.config, io, async (daemon, settings) => {
    const found = daemon
      ? await daemon.explain(policy, artifact, signal)
      : await explainHere(policy, artifact, settings, io, signal)
    io.out(options.output === 'json' ? `${JSON.stringify(found, undefined, 2)}\n` : text(found, io))
    if (artifact !== undefined && isEmpty(found) && found.blocked === undefined)
      throw new OperatorError('PH6003', `the registry lists nothing that ${JSON.stringify(excerpt(artifact))} may mean`)
    return exit.ok
  })
}

async function explainHere(
  policy: string,
  artifact: string | undefined,
  settings: Settings,
  io: Io,
  signal: AbortSignal,
): Promise<ExplanationView> {
  await using closers = new Closers()
  const secrets = openSecretsOf(settings, io)
  const drivers = closers.use(openDrivers(secrets))
  const ledger = await openLedgerOf(settings)
  if (ledger !== undefined) closers.use(ledger)
  const scrub = secrets.scrubber()
  const scratch = scratchFolder('explain')
  try {
    await using source = openSource(settings, secrets, scratch.name)
    const ports = { source, reader: readerOf(settings), drivers, ledger, now: systemClock.now(), scrub }
    return await explainPolicy(policy, artifact, ports, signal)
  } catch (error) {
    if (error instanceof EdgeError) throw new OperatorError(error.code, scrub(error.message))
    throw error
  } finally {
    scratch.removeCallback()
  }
}

function text({ policy, file, line, why, blocked, unresolved, artifacts, files }: ExplanationView, io: Io): string {
  const { bold, dim, green, red, yellow } = io.outColors
  const place = (at: Pick<VerdictView, 'field' | 'line'>) =>
    at.field === undefined || at.line === undefined ? '' : dim(`  ${file}:${at.line} ${at.field}`)
  const mark = { in: green('+'), out: red('-'), unknown: yellow('?') }
  const lines = [bold(`${policy}  ${file}:${line}`), ...why.map((one) => `  ${one}`)]
  if (blocked !== undefined) lines.push(red(`  a run now would be Blocked: ${blocked.code} ${blocked.message}`))
  for (const { artifact, code, message } of unresolved ?? []) lines.push(red(`  ${artifact}: ${code} ${message}`))
  for (const one of artifacts) {
    lines.push(
      '',
      bold(referenceText({ ...one, name: one.repository })) +
        (one.decidedBy === undefined ? '  in' : `  out, by the rule ${one.decidedBy}`),
    )
    for (const verdict of one.verdicts)
      lines.push(`  ${mark[verdict.says]} ${verdict.rule.padEnd(18)} ${verdict.message}${place(verdict)}`)
    for (const { provider, action, reason } of one.targets) lines.push(`  > ${provider}: ${action}, ${reason}`)
  }
  for (const one of files) {
    const at = place({ field: 'spec.files', line: one.line })
    lines.push('', `${bold(one.file)}  in`, `  ${mark.in} ${'file'.padEnd(18)} the policy names it${at}`)
    for (const { provider, action, reason } of one.targets) lines.push(`  > ${provider}: ${action}, ${reason}`)
  }
  if (artifacts.length === 0 && files.length === 0) lines.push('', 'the registry lists nothing of that')
  return `${lines.join('\n')}\n`
}

function isEmpty({ artifacts, files }: ExplanationView): boolean {
  return artifacts.length === 0 && files.length === 0
}
