#!/usr/bin/env node
import { setMaxListeners } from 'node:events'
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import type { OperatorOptions } from './commands/operator.ts'
import { exit, explainError, processIo, type Exit, type Io } from './commands/command.ts'
import { parseDuration } from './model/duration.ts'
import { parseReference, type Reference } from './model/reference.ts'
import { version } from './version.ts'

/** Runs one command line. @returns the exit code */
async function main(argv: readonly string[], io: Io): Promise<Exit> {
  const stop = new AbortController()
  // One for each wait under way, and those are bounded; Node warns from the eleventh on.
  setMaxListeners(0, stop.signal)
  // The first signal stops taking work; a second one, while work under way is being ended, leaves at once.
  for (const [name, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(code)
      io.err(`${name}: finishing what is under way\n`)
      stop.abort(new Error(`stopped by ${name}`))
    })
  }
  // Whoever read the results has left, as `| head` does, or the disk that they go to is full: no more work is worth doing.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (stop.signal.aborted) return
    stop.abort(error)
    if (error.code === 'EPIPE') return
    io.err(`error: results cannot be written (${error.message})\n`)
    process.on('exit', () => {
      process.exitCode = exit.failed
    })
  })
  // Nobody is left to be told, and a daemon goes on without its log.
  process.stderr.on('error', () => undefined)
  let code: Exit = exit.ok
  const program = commands(io, stop.signal, (result) => (code = result))
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exit.ok : exit.usage
    if (stop.signal.aborted) return exit.failed
    const text = explainError(error)
    if (text === undefined) throw error
    io.err(text)
    return exit.failed
  }
}

const CONFIG_FILE = 'preheatd.yaml'

// An empty value, which is what an empty variable gives, counts as one that is not set.
const CONFIG = new Option('--config <file>', 'the daemon’s own configuration')
  .env('PREHEATD_CONFIG')
  .default(CONFIG_FILE)
  .argParser((file) => (file === '' ? CONFIG_FILE : file))

function commands(io: Io, stop: AbortSignal, done: (code: Exit) => void): Command {
  const program = new Command('preheatd')
    .description('Preheats images into P2P engines as a git repository declares, and proves that they are warm.')
    .version(version)
    .exitOverride()
    .configureOutput({ writeOut: io.out, writeErr: io.err })
    .showHelpAfterError('(add --help for what is accepted)')
    .addHelpText(
      'after',
      `
Exit codes: 0 well, 1 not, 2 there are changes (plan --detailed-exitcode), 3 an object is invalid, 64 wrong usage.

Examples:
  $ preheatd validate policies/                     check a folder, offline
  $ preheatd plan --base origin/main policies/      what a pull request changes
  $ preheatd once --config preheatd.yaml --wait     walk once, until all is warm
  $ preheatd check --config preheatd.yaml           can everything be reached?
  $ preheatd run --config preheatd.yaml             the daemon
  $ preheatd warm library/app:v1 --wait 10m         a gate before a deploy`,
    )

  program
    .command('run')
    .description('the daemon: follows the repository, runs what is due, commits reports; ends on SIGTERM within 20 s')
    .addOption(CONFIG)
    .addHelpText('after', '\nExample:\n  $ preheatd run --config /etc/preheatd/preheatd.yaml')
    .action(async (options: { config: string }) => {
      const { run } = await import('./commands/run.ts')
      done(await run(options.config, io, stop))
    })

  program
    .command('once')
    .description('sync, plan, apply, resume, begin what is due, report, stop; opens no port')
    .addOption(CONFIG)
    .option('--wait', 'until every execution has ended', false)
    .option('--allow-unverified', 'let the result Unverified count as success', false)
    .addOption(output(['text', 'json']))
    .addHelpText(
      'after',
      '\nExits with 1 if a result is not Success or Skipped, else with 3 if an object is invalid.\n\nExample:\n  $ preheatd once --wait',
    )
    .action(async (options: { config: string; wait: boolean; allowUnverified: boolean; output: 'text' | 'json' }) => {
      const { once } = await import('./commands/once.ts')
      done(await once(options, io, stop))
    })

  program
    .command('preheat')
    .argument('<policy>', 'project/name, or the name alone where it is unambiguous')
    .description('run one policy now, through the daemon that lives on the state folder if there is one')
    .addOption(CONFIG)
    .option('--wait', 'until the execution has ended', false)
    .option('--allow-unverified', 'let the result Unverified count as success', false)
    .option('--reason <text>', 'it goes into the report', '')
    .addOption(output(['text', 'json']))
    .addHelpText('after', '\nExample:\n  $ preheatd preheat library/release-images --wait')
    .action(
      async (
        policy: string,
        options: {
          config: string
          wait: boolean
          allowUnverified: boolean
          reason: string
          output: 'text' | 'json'
        },
      ) => {
        const { preheat } = await import('./commands/preheat.ts')
        done(await preheat(policy, options, io, stop))
      },
    )

  program
    .command('validate')
    .argument('[dir]', 'the folder that source.path names', '.')
    .description('check a config folder, offline')
    .addOption(output(['text', 'json']))
    .addHelpText('after', '\nExits with 3 if anything is invalid.\n\nExample:\n  $ preheatd validate policies/')
    .action(async (dir: string, options: { output: 'text' | 'json' }) => {
      const { validate } = await import('./commands/validate.ts')
      done(await validate(dir, options, io, stop))
    })

  program
    .command('plan')
    .argument('[dir]', 'the folder that source.path names', '.')
    .description('what a folder would change, field by field, and when its policies run next')
    .option(
      '--base <rev>',
      'compare with this revision of the repository that holds the folder; without it everything is new',
    )
    .addOption(
      new Option(
        '--config <file>',
        'also list what would be preheated, with this daemon’s credentials and what it knows to be warm',
      )
        .env('PREHEATD_CONFIG')
        .argParser((file) => (file === '' ? undefined : file)),
    )
    .option('--detailed-exitcode', 'exit with 2 when there are changes', false)
    .addOption(output(['text', 'markdown', 'json']))
    .addHelpText(
      'after',
      '\nExample, in the CI of a pull request:\n  $ preheatd plan --base origin/main --config preheatd.yaml -o markdown > plan.md',
    )
    .action(
      async (
        dir: string,
        options: { base?: string; config?: string; detailedExitcode: boolean; output: 'text' | 'markdown' | 'json' },
      ) => {
        const { plan } = await import('./commands/plan.ts')
        done(await plan(dir, options, io, stop))
      },
    )

  program
    .command('check')
    .description('reaches git, registries and engines with the daemon’s credentials; changes nothing, takes no lock')
    .addOption(CONFIG)
    .addOption(output(['text', 'json']))
    .addHelpText(
      'after',
      '\nExits with 1 if anything failed. May run beside the daemon.\n\nExample:\n  $ preheatd check --config preheatd.yaml',
    )
    .action(async (options: { config: string; output: 'text' | 'json' }) => {
      const { check } = await import('./commands/check.ts')
      done(await check(options, io, stop))
    })

  program
    .command('warm')
    .addArgument(
      new Argument('<reference>', 'library/app:v1 or library/app@sha256:…, the registry’s host before it if need be')
        // A gate says what it is about: no tag is taken for granted.
        .argParser((text) => parsedOr(text, parseReference, 'Name a repository with a tag or a sha256 digest.')),
    )
    .description('is this image warm, by what evidence, how old; submits nothing')
    .addOption(CONFIG)
    .option('--provider <name>', 'ask this provider; otherwise those of the policies that cover the image')
    .addOption(
      new Option('--wait <duration>', 'wait so long for the evidence, as 10m')
        .default(0, 'what is known now')
        .argParser((text) => parsedOr(text, durationOf, 'Write 30s, 5m or 1h30m.')),
    )
    .addOption(output(['text', 'json']))
    .addHelpText(
      'after',
      '\nAsks the daemon that lives on the state folder, if there is one.\nExits with 0 only on evidence from every provider asked, else with 1.\n\nExample, before a deploy:\n  $ preheatd warm library/app:v1 --wait 10m',
    )
    .action(
      async (
        reference: Reference,
        options: { config: string; provider?: string; wait: number; output: 'text' | 'json' },
      ) => {
        const { warm } = await import('./commands/warm.ts')
        done(await warm(reference, options, io, stop))
      },
    )

  program
    .command('explain')
    .argument('<policy>', 'library/release-images, or its bare name')
    .argument('[artifact]', 'only this: app, app:v1 or library/app@sha256:…')
    .description('for every artifact the rule, with file and line, that takes it in or leaves it out; submits nothing')
    .addOption(CONFIG)
    .addOption(output(['text', 'json']))
    .addHelpText(
      'after',
      '\nReads the policy at the tip of the source. Asks the daemon that lives on the state folder, if there is one.\nExits with 1 where the registry does not list the artifact.\n\nExample:\n  $ preheatd explain library/release-images app:v1-rc1',
    )
    .action(
      async (policy: string, artifact: string | undefined, options: { config: string; output: 'text' | 'json' }) => {
        const { explain } = await import('./commands/explain.ts')
        done(await explain(policy, artifact, options, io, stop))
      },
    )

  operatorCommands(program, io, stop, done)
  return program
}

/** What an operator asks in an incident, of the daemon that lives on the state folder. */
function operatorCommands(program: Command, io: Io, stop: AbortSignal, done: (code: Exit) => void): void {
  const command = (name: string, about: string) =>
    program
      .command(name)
      .description(about)
      .addOption(CONFIG)
      .addOption(output(['text', 'json']))
  const reason = () => new Option('--reason <text>', 'it goes into the report')
  const requiredReason = () => new Option('--reason <text>', 'required; it goes into the report').makeOptionMandatory()

  command(
    'status',
    'how policies, providers and the source stand; what the state folder says where no daemon runs',
  ).action(async (options: OperatorOptions) => {
    const { status } = await import('./commands/status.ts')
    done(await status(options, io, stop))
  })
  command('executions', 'the newest executions, of one policy or of all')
    .argument('[policy]', 'library/release-images, or its bare name')
    .addOption(new Option('--limit <n>', 'how many').default(50).argParser((text) => countOf(text, 1000)))
    .action(async (policy: string | undefined, options: OperatorOptions & { limit: number }) => {
      const { executions } = await import('./commands/executions.ts')
      done(await executions(policy, options, io, stop))
    })
  command('logs', 'what an execution, or one task of it, did')
    .argument('<execution>', 'its id, as 20261121T020000Z-3f9a1c07')
    .argument('[task]', 'only this task')
    .option('-f, --follow', 'until it ends', false)
    .action(async (execution: string, task: string | undefined, options: OperatorOptions & { follow: boolean }) => {
      const { logs } = await import('./commands/logs.ts')
      done(await logs(execution, task, options, io, stop))
    })
  command('stop', 'ends an execution early; what engines were given goes on there')
    .argument('<execution>', 'its id, as 20261121T020000Z-3f9a1c07')
    .addOption(requiredReason())
    .action(async (execution: string, options: OperatorOptions & { reason: string }) => {
      const { stop: stopExecution } = await import('./commands/stop.ts')
      done(await stopExecution(execution, options, io, stop))
    })
  const everyPolicy = (policy: string | undefined, all: boolean, one: Command) => {
    if ((policy === undefined) !== all) one.error('error: name a policy, or --all', { exitCode: exit.usage })
  }
  command('suspend', 'lets schedule and events rest until resume; manual runs go on')
    .argument('[policy]', 'library/release-images, or its bare name')
    .option('--all', 'every policy', false)
    .addOption(requiredReason())
    .action(
      async (policy: string | undefined, options: OperatorOptions & { reason: string; all: boolean }, one: Command) => {
        everyPolicy(policy, options.all, one)
        const { suspend } = await import('./commands/suspend.ts')
        done(await suspend(policy, options, io, stop))
      },
    )
  command('resume', 'ends what suspend began')
    .argument('[policy]', 'library/release-images, or its bare name')
    .option('--all', 'what was suspended by suspend --all', false)
    .addOption(reason().default(''))
    .action(
      async (policy: string | undefined, options: OperatorOptions & { reason: string; all: boolean }, one: Command) => {
        everyPolicy(policy, options.all, one)
        const { resume } = await import('./commands/resume.ts')
        done(await resume(policy, options, io, stop))
      },
    )
  command('reconcile', 'looks at the source now').action(async (options: OperatorOptions) => {
    const { reconcile } = await import('./commands/reconcile.ts')
    done(await reconcile(options, io, stop))
  })
  command('invalidate', 'forgets what a provider is known to hold, so that the next run sends it again')
    .argument('<provider>', 'its name')
    .addOption(reason().default(''))
    .action(async (provider: string, options: OperatorOptions & { reason: string }) => {
      const { invalidate } = await import('./commands/invalidate.ts')
      done(await invalidate(provider, options, io, stop))
    })
  command('schedule', 'when a policy runs next')
    .argument('<policy>', 'library/release-images, or its bare name')
    .addOption(new Option('--next <n>', 'how many slots').default(10).argParser((text) => countOf(text, 100)))
    .action(async (policy: string, options: OperatorOptions & { next: number }) => {
      const { schedule } = await import('./commands/schedule.ts')
      done(await schedule(policy, options, io, stop))
    })
  program
    .command('init')
    .argument('<dir>', 'a folder that is empty or not there')
    .description('a config folder to start from, with schema lines for editors')
    .addOption(output(['text', 'json']))
    .action(async (dir: string, options: { output: 'text' | 'json' }) => {
      const { init } = await import('./commands/init.ts')
      done(await init(dir, options, io, stop))
    })
}

function countOf(text: string, most: number): number {
  const isCount = (one: string) => (/^\d{1,4}$/.test(one) && +one >= 1 && +one <= most ? +one : undefined)
  return parsedOr(text, isCount, `Write a number from 1 to ${most}.`)
}

function parsedOr<T>(text: string, parse: (text: string) => T | undefined, help: string): T {
  const value = parse(text)
  if (value === undefined) throw new InvalidArgumentError(help)
  return value
}

function durationOf(text: string): number | undefined {
  try {
    return parseDuration(text)
  } catch (error) {
    if (error instanceof TypeError) return undefined
    throw error
  }
}

function output(choices: readonly string[]): Option {
  return new Option('-o, --output <format>', 'how results are written').choices(choices).default('text')
}

const io = processIo()
process.exitCode = await main(process.argv.slice(2), io).catch((error: unknown) => {
  // Not explained: a bug of ours, and the stack is what helps to find it.
  io.err(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
  return exit.crashed
})
