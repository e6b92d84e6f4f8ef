import { access, constants } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Config } from '../../config/load.ts'
import { checkPush } from '../../git/check.ts'
import { OperatorError } from '../../model/errors.ts'
import type { Located } from '../../model/resource.ts'
import { refText } from '../../model/source-ref.ts'
import { readConfig } from '../../reconcile.ts'
import type { Secrets } from '../../secrets.ts'
import type { Settings } from '../../settings.ts'
import { openLedgerOf, openSource, readerOf } from '../open.ts'
import { attempt, type Finding, type Good } from './finding.ts'

/** The branch, and the configuration at its tip. */
export async function checkSource(
  settings: Settings,
  secrets: Secrets,
  scratch: string,
  signal: AbortSignal,
): Promise<{ readonly findings: readonly Finding[]; readonly objects: readonly Located[] }> {
  const { source } = settings
  const name = source.type === 'dir' ? source.dir : `${source.url} ${refText(source.ref)}`
  let config: Config | undefined
  const reached = await attempt({ kind: 'source', name }, 'PH4003', signal, async (during) => {
    await using opened = openSource(settings, secrets, scratch)
    const revision = await opened.observe(during)
    config = await readConfig(await opened.fetch(revision, during), readerOf(settings), during)
    return { detail: `readable, at ${revision.slice(0, 19)}` }
  })
  if (config !== undefined) return { findings: [reached, configFinding(config)], objects: config.objects }
  const known = await appliedObjects(settings)
  const warning =
    known === undefined
      ? 'registries and providers were not asked: nobody knows which there are'
      : 'registries and providers are those that the daemon applied last'
  return { findings: [{ ...reached, warnings: [warning] }], objects: known ?? [] }
}

function configFinding({ config, objects, problems }: Config): Finding {
  const errors = problems.filter(({ severity }) => severity === 'error')
  const warnings = problems.filter(({ severity }) => severity === 'warning')
  const lines = (some: Config['problems']) =>
    some.map(({ file, line, code, message }) => `${file}:${line}: ${code} ${message}`)
  const count = `${objects.length} object${objects.length === 1 ? '' : 's'}`
  const [first] = errors
  const place = { kind: 'config', name: config.commit.slice(0, 19) } as const
  if (first === undefined) return { ...place, ok: true, code: undefined, detail: count, warnings: lines(warnings) }
  const detail = `${count}, ${errors.length} error${errors.length === 1 ? '' : 's'}: ${lines(errors.slice(0, 1)).join('')}`
  return {
    ...place,
    ok: false,
    code: first.code,
    detail,
    help: first.help,
    warnings: lines([...errors.slice(1), ...warnings]),
  }
}

/** What a daemon applied, where one has been. */
async function appliedObjects(settings: Settings): Promise<readonly Located[] | undefined> {
  try {
    await using ledger = await openLedgerOf(settings)
    return (await ledger?.applied())?.objects
  } catch (error) {
    if (error instanceof OperatorError) return undefined
    throw error
  }
}

/** Reads where reports go and comes as near to a push as can be without one. */
export function checkReports(
  { reports }: Settings,
  { read }: Secrets,
  scratch: string,
  signal: AbortSignal,
): Promise<Finding> {
  if (reports.type === 'folder')
    return attempt({ kind: 'reports', name: reports.dir }, 'PH8003', signal, () => checkFolder(reports.dir))
  const { url, branch, auth } = reports
  return attempt({ kind: 'reports', name: `${url} ${branch}` }, 'PH4003', signal, async (during) => {
    const dir = join(scratch, 'push.git')
    const exists = await checkPush({ url, branch, dir, auth, read }, during)
    const branchIs = exists ? 'readable' : 'not there yet: the first report makes it'
    return { detail: `${branchIs}; a push was tried without being made, so rules on the branch itself are not known` }
  })
}

async function checkFolder(dir: string): Promise<Good> {
  for (let folder = dir; ; folder = dirname(folder)) {
    try {
      await access(folder, constants.W_OK)
      return { detail: folder === dir ? 'writable' : `made by the first report, in ${folder}` }
    } catch (error) {
      const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unusable'
      if (reason !== 'ENOENT' || folder === dirname(folder))
        throw new OperatorError('PH8003', `reports cannot be written to ${dir} (${reason})`)
    }
  }
}
