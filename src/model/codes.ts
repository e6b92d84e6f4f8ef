/**
 * Every finding and failure that preheatd reports, by a code that never changes its meaning. `docs/codes.md` is made
 * from this table; a code is found by one search through config, plan output, logs and reports alike.
 */
export const codes = {
  PH1001: { title: 'file too large', remedy: 'Keep one file below 1 MiB; split it.' },
  PH1002: { title: 'nested too deeply', remedy: 'No resource needs more than 64 levels of nesting.' },
  PH1003: { title: 'not YAML', remedy: 'Correct the syntax at the marked place.' },
  PH1004: { title: 'duplicate key', remedy: 'Remove one of the two.' },
  PH1005: { title: 'anchors and aliases are not accepted', remedy: 'Write the value out in both places.' },
  PH1006: {
    title: 'forbidden character',
    remedy: 'Save the file as UTF-8 without byte order mark, control or bidirectional characters.',
  },
  PH1007: {
    title: 'YAML feature not accepted',
    remedy: 'Directives, tags, merge keys and numbers beyond 2^53 are refused: write plain YAML 1.2.',
  },
  PH1008: { title: 'repository too large', remedy: 'At most 50,000 files and 256 MiB of YAML below source.path.' },
  PH1009: {
    title: 'not a regular file',
    remedy: 'Symbolic links and submodules are not followed; commit the file itself.',
  },

  PH2001: { title: 'unknown field', remedy: 'Remove it, or use the suggested name.' },
  PH2002: { title: 'field missing', remedy: 'Add the field.' },
  PH2003: { title: 'wrong type or value', remedy: 'Write what the schema describes.' },
  PH2004: {
    title: 'unknown kind',
    remedy: 'Registry, Provider, PreheatPolicy and PreheatRun are the kinds of preheatd.io/v1alpha1.',
  },
  PH2005: { title: 'unknown apiVersion', remedy: 'Write apiVersion: preheatd.io/v1alpha1.' },

  PH3001: { title: 'unknown registry', remedy: 'Name a Registry that the repository declares.' },
  PH3002: { title: 'unknown provider', remedy: 'Name a Provider that the repository declares.' },
  PH3003: { title: 'unknown policy', remedy: 'Name a PreheatPolicy that the repository declares, as project/name.' },
  PH3004: { title: 'declared twice', remedy: 'Rename or remove one of them.' },
  PH3005: { title: 'two default providers', remedy: 'Set default: true on one Provider only.' },
  PH3006: {
    title: 'schedule refused',
    remedy: 'Five cron fields, or six of which the first is 0; it must fire some day.',
  },
  PH3007: { title: 'the vendor cannot do this', remedy: 'Remove the setting, or choose a provider that can.' },
  PH3008: {
    title: 'provider closed to the project',
    remedy: 'Ask the platform team to add registry/project to the Provider’s projects.',
  },
  PH3009: {
    title: 'kind not allowed at this path',
    remedy: 'Below projects/<project>/ only PreheatPolicy and PreheatRun of that project are accepted.',
  },
  PH3010: { title: 'the registry has no labels', remedy: 'Remove filters.labels, or use a Registry of type harbor.' },
  PH3011: { title: 'malformed pattern', remedy: 'Write a doublestar pattern: * ? ** [abc] {a,b} and \\ to escape.' },
  PH3012: {
    title: 'credentials over plain http',
    remedy: 'Use https, or set allowPlainHTTP: true on the resource if you accept the risk.',
  },
  PH3013: { title: 'address refused', remedy: 'Link-local and metadata addresses are never contacted.' },
  PH3014: { title: 'no provider', remedy: 'Name a provider, or mark one as default.' },
  PH3015: { title: 'provider disabled', remedy: 'Its tasks are Skipped until it is enabled.' },
  PH3016: { title: 'run without expiresAt', remedy: 'Set expiresAt, so that a fresh daemon never runs it again.' },
  PH3017: { title: 'ambiguous', remedy: 'Write it in full.' },
  PH3018: { title: 'project missing', remedy: 'Artifacts of a harbor registry stand in a project: add spec.project.' },
  PH3019: {
    title: 'named file missing',
    remedy: 'Commit the file below source.path, or correct the path: it begins at source.path, not at the policy.',
  },
  PH3020: {
    title: 'key or trusted root unusable',
    remedy: 'Commit a public key in PEM of at most 16 KiB, or a Sigstore trusted_root.json of at most 1 MiB.',
  },

  PH4001: { title: 'git credential refused', remedy: 'Check the secret that source.auth or reports.auth names.' },
  PH4002: {
    title: 'branch not found',
    remedy: 'Check the name of the branch or revision; what was applied stays in force.',
  },
  PH4003: { title: 'git remote unreachable', remedy: 'Check the address and the network; preheatd goes on trying.' },
  PH4004: { title: 'mirror broken', remedy: 'It is moved aside and cloned anew; look at the disk if this comes back.' },
  PH4005: { title: 'push refused', remedy: 'Allow the reports credential to push to reports.branch.' },
  PH4006: { title: 'git failed', remedy: 'Read the message; it is git’s own.' },
  PH4007: { title: 'source folder unreadable', remedy: 'Check that the folder is there and readable.' },
  PH4008: {
    title: 'host key not trusted',
    remedy:
      'Compare the fingerprint with the one that the host’s operator publishes, then put its line into known_hosts.',
  },
  PH4009: {
    title: 'most of it would be deleted',
    remedy: 'If it is meant, put [preheatd: delete] into the subject of a commit; else look what emptied source.path.',
  },
  PH4010: {
    title: 'not signed by a trusted key',
    remedy:
      'Have it signed by somebody whose key is in the secret of source.verify, or put the signer’s key there; what was applied stays in force.',
  },

  PH5001: { title: 'engine unreachable', remedy: 'Check the Provider’s endpoint; preheatd goes on trying.' },
  PH5002: { title: 'engine refused the request', remedy: 'Read the message; the same request would be refused again.' },
  PH5003: { title: 'blobs missing', remedy: 'Look at the engine’s logs for the digests listed as missing.' },
  PH5004: { title: 'nothing to look at', remedy: 'The engine did not say which blobs it cached; nothing is claimed.' },
  PH5005: { title: 'job lost', remedy: 'The engine never ended it; a manager restart does that.' },
  PH5006: { title: 'job failed', remedy: 'Read the engine’s message.' },
  PH5007: {
    title: 'engine credential refused',
    remedy: 'Check the secret of the Provider: expired, inactive, or without the scope job.',
  },
  PH5008: {
    title: 'engine not understood',
    remedy: 'Is the endpoint the manager’s REST address, and its version one that the README names?',
  },
  PH5009: { title: 'unknown cluster', remedy: 'Name a cluster that the manager lists.' },

  PH5010: {
    title: 'not warm any more',
    remedy: 'The engine evicted it; drift.mode: heal preheats it again, keepWarm does so before.',
  },
  PH5011: {
    title: 'a server of the engine unreachable',
    remedy: 'Check the server that the message names; the others go on without it.',
  },

  PH6001: { title: 'registry unreachable', remedy: 'Check the Registry’s endpoint; preheatd goes on trying.' },
  PH6002: {
    title: 'registry credential refused',
    remedy: 'Check the secret of the Registry and what its account may do.',
  },
  PH6003: {
    title: 'not found in the registry',
    remedy: 'Check the project, the repository and the account’s permissions.',
  },
  PH6004: {
    title: 'listing not whole',
    remedy: 'Nothing was selected from a listing that was cut short; the next run lists again.',
  },
  PH6005: { title: 'registry not understood', remedy: 'Is the endpoint of the type that the Registry says?' },
  PH6006: { title: 'registry refused the request', remedy: 'Read the message.' },
  PH6007: { title: 'platform not in the image', remedy: 'Correct platforms, or build the image for it.' },
  PH6008: {
    title: 'content does not match its digest',
    remedy: 'The registry or something before it serves altered content.',
  },
  PH6009: {
    title: 'not pulled through yet',
    remedy: 'Look at Harbor’s log and at the quota of the proxy-cache project; the next run looks again.',
  },

  PH7001: {
    title: 'secret not found',
    remedy: 'Put the key into secrets.dir, or name an environment variable in secrets.bindings.',
  },
  PH7002: {
    title: 'secret not bound to this host',
    remedy: 'Add the host to secrets.bindings in the daemon’s configuration if it may have the secret.',
  },

  PH8001: { title: 'daemon configuration invalid', remedy: 'Correct preheatd.yaml at the marked place.' },
  PH8002: {
    title: 'state folder in use',
    remedy:
      'One worker per state folder: stop the other one, or ask it: `preheatd preheat` and `reconcile` go through it.',
  },
  PH8003: { title: 'state folder unusable', remedy: 'Check that it is writable and has space.' },
  PH8004: { title: 'over a limit', remedy: 'Narrow the filters, or raise spec.limits.' },
  PH8005: {
    title: 'project rule not supported',
    remedy: 'Not reported any more: preheatd checks signatures and vulnerabilities itself.',
  },
  PH8006: { title: 'policy disabled', remedy: 'Set enabled: true.' },
  PH8007: {
    title: 'no target left',
    remedy: 'The registry or provider that the policy names is not declared any more.',
  },

  PH8009: { title: 'run waits', remedy: 'It begins once its policy is there, valid and enabled, or expires.' },

  PH8010: {
    title: 'named artifact not found',
    remedy: 'Correct spec.artifacts, or push the artifact; the others were preheated.',
  },

  PH8101: { title: 'cannot begin', remedy: 'Read the message, mend what it names, and ask again.' },
  PH8102: { title: 'request refused', remedy: 'Ask as /api/v1/openapi.json describes.' },
  PH8103: {
    title: 'token refused',
    remedy: 'Send Authorization: Bearer with the token that http.tokenSecretRef names.',
  },
  PH8104: {
    title: 'no such execution',
    remedy: 'Take an id that `preheatd executions` lists; old ones are in git only.',
  },
  PH8105: { title: 'ended already', remedy: 'There is nothing left to stop; its report is in git.' },
  PH8106: { title: 'too many watch', remedy: 'End a stream of events, or ask for the execution instead.' },
  PH8107: { title: 'no daemon runs', remedy: 'Start `preheatd run` with this configuration, or ask where it runs.' },
  PH8108: { title: 'cannot listen', remedy: 'Choose another address or a shorter path, or stop who holds it.' },
  PH8109: { title: 'internal failure', remedy: 'The daemon’s log has the reason; ask again.' },
  PH8110: { title: 'daemon not understood', remedy: 'Use the same version of preheatd as the daemon’s.' },
  PH8111: { title: 'folder not empty', remedy: 'Name a folder that is empty or is not there yet.' },
  PH8112: { title: 'too many ask', remedy: 'Ask again when others have their answers.' },
  PH8113: { title: 'the answer took too long', remedy: 'Ask about one artifact or one provider, or ask again later.' },
  PH8114: {
    title: 'file refused',
    remedy: 'Check the permissions and the space there; TMPDIR names where scratch files go.',
  },

  PH8031: {
    title: 'notification not delivered',
    remedy: 'The receiver or the forge did not answer, or asked for a pause; it was tried four times.',
  },
  PH8032: {
    title: 'notification refused',
    remedy: 'Check the address, the token of its secret and what that may do, and that the commit is there.',
  },

  PH8012: {
    title: 'stopped',
    remedy: 'A person, or concurrency: replace, ended it early; what engines were given goes on there.',
  },
  PH8013: {
    title: 'deadline passed',
    remedy: 'Raise spec.deadline, narrow the filters, or look why the engine is slow.',
  },

  PH8011: {
    title: 'state was corrupt',
    remedy:
      'It lies aside to be looked at; PreheatRuns that were used up are read from the reports, schedules count from now. Look at the disk.',
  },
  PH8014: {
    title: 'state of another instance',
    remedy: 'Give each instance a state.dir, or a database, of its own; to go on with this one set metadata.name back.',
  },

  PH9001: {
    title: 'not built yet',
    remedy: 'This version of preheatd does not do this; write what it does, or leave it out.',
  },
} as const satisfies Record<string, { readonly title: string; readonly remedy: string }>

export type Code = keyof typeof codes
