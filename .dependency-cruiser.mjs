// The house of docs/architecture.md as rules that run. Each comment is what an offender reads.
const stages = ['config', 'plan', 'trigger', 'execution', 'report']
const edges = ['git', 'registry', 'engine', 'store', 'observe', 'serve', 'forge', 'notify']
const ports = '^src/(engine/engine|store/store|registry/registry)[.]ts$'

const anyOf = (folders) => `^src/(${folders.join('|')})/`

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Two modules that need each other are one module, or hide a third. Type-only cycles count.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'model-is-a-leaf',
      comment: 'The vocabulary depends on nothing of ours, so that everything may depend on it.',
      severity: 'error',
      from: { path: '^src/model/' },
      to: { path: '^src/(?!model/)' },
    },
    ...stages.slice(0, -1).map((stage, i) => ({
      name: `${stage}-comes-before-${stages[i + 1]}`,
      comment: 'A stage knows the stages that feed it, never the ones that it feeds.',
      severity: 'error',
      from: { path: anyOf([stage]) },
      to: { path: anyOf(stages.slice(i + 1)) },
    })),
    {
      name: 'stages-see-ports-only',
      comment: 'Ask for an Engine, a Store, a registry’s ArtifactSource. Only the top knows which one it is.',
      severity: 'error',
      from: { path: anyOf(stages) },
      to: { path: anyOf(edges), pathNot: ports },
    },
    {
      name: 'ports-by-type-only',
      comment: 'A port is an interface; importing a value from one means that behaviour has crept in.',
      severity: 'error',
      from: { path: anyOf(stages) },
      to: { path: ports, dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'edges-do-not-meet',
      comment: 'An engine that writes to the store, or a store that speaks git, is a stage in disguise.',
      severity: 'error',
      from: { path: `^src/(${edges.join('|')})/` },
      to: { path: anyOf([...edges, ...stages]), pathNot: '^src/$1/' },
    },
    {
      name: 'decisions-touch-nothing',
      comment: 'Values in, values out. Whatever touches the world goes to a shell or an edge.',
      severity: 'error',
      from: {
        path: ['^src/(model|config|plan|report|trigger)/', '^src/execution/(?!loop[.]ts$)'],
        pathNot: '^src/config/schema[.]ts$',
      },
      to: {
        path: '^(fs|http|https|net|os|timers|child_process)(/|$)|node_modules/(undici|simple-git|winston|chokidar)/',
      },
    },
    {
      name: 'vendors-stay-home',
      comment: 'A vendor’s words end in its driver: only engine/open.ts chooses one.',
      severity: 'error',
      from: { path: '^src/(?!engine/open[.]ts$)(?:engine/)?([^/]+)/?' },
      to: { path: '^src/engine/[^/]+/', pathNot: '^src/engine/$1/' },
    },
    {
      name: 'nobody-imports-the-top',
      comment: 'The composition and the commands stand above everything else.',
      severity: 'error',
      from: { path: '^src/[^/]+/', pathNot: '^src/commands/' },
      to: {
        path: '^src/(cli|daemon|begin|fulfil|reconcile|send-reports|drivers|settings|secrets|version)[.]ts$|^src/commands/',
      },
    },
    {
      name: 'commands-load-when-they-run',
      comment: 'All of them take 0.6 s of CPU to load, which --version, --help and a typing mistake should not cost.',
      severity: 'error',
      from: { path: '^src/cli[.]ts$' },
      to: { path: '^src/commands/(?!command[.]ts$)', dynamic: false, dependencyTypesNot: ['type-only'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
  },
}
