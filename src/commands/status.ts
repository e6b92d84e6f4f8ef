import { excerpt } from '../model/errors.ts'
import type { Settings } from '../settings.ts'
import type { PolicyBody, ProviderBody, StatusBody } from '../serve/wire.ts'
import { exit, type Exit, type Io } from './command.ts'
import { besideDaemon, type OperatorOptions } from './operator.ts'
import { statusLeft, withLedger } from './state.ts'
import { table } from './table.ts'

/** How the source, every policy and every provider stand; where no daemon runs, how they stood when it stopped. */
export async function status(options: OperatorOptions, io: Io, signal: AbortSignal): Promise<Exit> {
  return await besideDaemon(options.config, io, async (daemon, settings) => {
    const found = daemon
      ? await daemon.status(signal)
      : await withLedger(settings, (ledger) => statusLeft(ledger, settings))
    const runs = daemon !== undefined
    if (options.output === 'json') io.out(`${JSON.stringify({ runs, ...found }, undefined, 2)}\n`)
    else
      io.out(found === undefined ? 'No daemon has run here yet.\n' : text(found, runs ? 'runs' : leftIn(settings), io))
    return exit.ok
  })
}

/** Where what a daemon knows was found, since none answers here. */
function leftIn({ state }: Settings): 'folder' | 'database' {
  return state.databaseUrl === undefined ? 'folder' : 'database'
}

function text(status: StatusBody, from: 'runs' | ReturnType<typeof leftIn>, io: Io): string {
  const { red, yellow } = io.outColors
  const { source, waitingReports, problems } = status
  const heading = {
    runs: `preheatd ${status.version}${status.leads ? ', leads' : ''}`,
    folder: `${yellow('not running')}; as it stood when it stopped`,
    database: `${yellow('not running')} on this state folder; as the database has it`,
  }
  const lines = [
    `daemon    ${status.instance}, ${heading[from]}`,
    source.revision === undefined
      ? 'source    nothing has been applied yet'
      : `source    ${source.revision} applied ${source.appliedAt ?? ''}`,
  ]
  if (source.trouble) lines.push(`          ${red(source.trouble.code)} ${excerpt(source.trouble.message)}`)
  if (waitingReports > 0) lines.push(`reports   ${waitingReports} waiting`)
  for (const { severity, code, file, line, message } of problems)
    lines.push(`${severity === 'error' ? red('invalid') : 'warning'}   ${file}:${line}: ${code} ${excerpt(message)}`)
  const policies = table(
    ['POLICY', 'READY', 'RECONCILING', 'STALLED', 'LAST RESULT', 'ENDED', 'NEXT SLOT', 'SUSPENDED', 'MESSAGE'],
    [...status.policies].sort(byName(({ policy }) => policy)).map(policyRow),
    io,
  )
  const providers = table(
    ['PROVIDER', 'VENDOR', 'ENABLED', 'ANSWERS', 'OPEN TASKS'],
    [...status.providers].sort(byName(({ provider }) => provider)).map(providerRow),
    io,
  )
  return [
    `${lines.join('\n')}\n`,
    status.policies.length > 0 ? policies : 'No policy is in force.\n',
    providers.trim() && providers,
  ]
    .filter((part) => part !== '')
    .join('\n')
}

function policyRow({ policy, conditions, suspended, nextSlot, last }: PolicyBody): string[] {
  const of = (type: string) => conditions.find((one) => one.type === type)
  const mark = (type: string) => (of(type)?.status === true ? 'True' : 'False')
  const [ready, reconciling] = [of('Ready'), of('Reconciling')]
  const message =
    ready?.status === true ? (reconciling?.message ?? '') : `${ready?.reason ?? ''}: ${ready?.message ?? ''}`
  return [
    policy,
    mark('Ready'),
    mark('Reconciling'),
    mark('Stalled'),
    last?.result ?? 'never ran',
    last?.endedAt ?? '',
    nextSlot ?? '',
    suspended === undefined ? '' : excerpt(suspended, 60) || 'yes',
    excerpt(message),
  ]
}

function providerRow({ provider, vendor, enabled, silentUntil, openTasks }: ProviderBody): string[] {
  const answers = silentUntil === undefined ? '' : `no, asked again at ${silentUntil}`
  return [provider, vendor, enabled ? 'True' : 'False', answers, `${openTasks}`]
}

function byName<T>(name: (one: T) => string): (a: T, b: T) => number {
  return (a, b) => (name(a) < name(b) ? -1 : 1)
}
