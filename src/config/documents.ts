// Generated from schemas/ by schemas/generate-types.mjs. Do not edit.

/**
 * The one version there is.
 */
type ApiVersion = 'preheatd.io/v1alpha1'
/**
 * Letters and digits, with single dots, dashes or underscores between them; Harbor's rule for names.
 */
type Name = string
/**
 * Scheme and host, with a port where it is not the usual one; without path and user info.
 */
type Origin = string
/**
 * A file below the daemon's secrets.dir.
 */
type SecretFile = string
/**
 * Accept that credentials go over plain http to a host that is not this machine.
 */
type AllowPlainHTTP = boolean
/**
 * An http or https address, with a path where the service has one; without user info, query and fragment.
 */
type Endpoint = string
/**
 * * any run without /, ** any components, ? one character, [abc], {a,b}, \ escapes.
 */
type Pattern = string
/**
 * Any of these.
 */
type Patterns = Pattern[]
/**
 * Operating system, architecture and, where there is one, variant.
 */
type Platform = string
/**
 * Which images of a multi-platform index are meant.
 */
type Platforms = Platform[]
/**
 * A length of time: milliseconds, seconds, minutes, hours or days, and sums of them.
 */
type Duration = string
/**
 * Scheduler clusters by name.
 */
type ClusterNames = string[]
/**
 * How far a preheat reaches inside a cluster: one seed peer, all seed peers, or all peers.
 */
type Scope = 'single_seed_peer' | 'all_seed_peers' | 'all_peers'
/**
 * A length of time above zero: milliseconds, seconds, minutes, hours or days, and sums of them.
 */
type PositiveDuration = string
/**
 * Bytes: 500Gi is 500 × 2^30, 10G is 10 × 10^9.
 */
type Size = string
/**
 * A moment by RFC 3339, with its zone.
 */
type Instant = string
/**
 * A Harbor project, or the repository prefix of an oci registry.
 */
type Project = string
/**
 * Several fan out. None: the default provider, else the only one.
 */
type ProviderRefs = ProviderRef[]
/**
 * Artifacts by name, without the project prefix.
 */
type Artifacts = string[]
/**
 * Path of a public key in PEM, relative to source.path.
 */
type KeyFile = string
/**
 * Path of a Sigstore trusted_root.json, relative to source.path.
 */
type TrustedRootFile = string
/**
 * missing: only what is not known to be warm. always: everything, each time.
 */
type RefreshMode = 'missing' | 'always'
/**
 * https, ssh (also as git@host:path), http to this machine, or file for a local bare repository; without a password, and without a user where it is not ssh.
 */
type GitUrl = string
/**
 * Name of a branch.
 */
type Branch = string
/**
 * Name of an environment variable.
 */
type EnvironmentVariable = string
/**
 * Address and port to listen on.
 */
type Listen = string

/**
 * Where artifacts are listed and pulled from.
 */
export interface RegistryDocument {
  apiVersion: ApiVersion
  /**
   * Registry
   */
  kind: 'Registry'
  metadata: Metadata
  /**
   * What the registry is and how it is reached.
   */
  spec: {
    /**
     * harbor: Harbor's own API, with projects and labels. oci: any registry that speaks the distribution API.
     */
    type: 'harbor' | 'oci'
    /**
     * Where the daemon lists and reads artifacts.
     */
    endpoint: Origin
    /**
     * The daemon's own requests; none where it is left out.
     */
    auth?: Auth
    /**
     * What engines are told to pull from; the endpoint where it is left out. Must be the host that nodes pull through, or what was warmed is never hit.
     */
    engineEndpoint?: Origin
    /**
     * Lets the registry say what happened in it, at /hooks/registries/NAME; trigger.poll stands behind it. Its secret is what the registry sends as its Authorization header: key token, or value.
     */
    webhook?: {
      secretRef: SecretRef
    }
    /**
     * What engines are given. Left out: a pull token where the registry has a token service, else nothing.
     */
    engineAuth?: {
      /**
       * token: a short-lived pull token, minted for each task.
       */
      type: 'token' | 'basic' | 'bearer' | 'none'
      secretRef?: SecretRef
    }
    tls?: Tls
    /**
     * How hard the registry may be pressed.
     */
    limits?: {
      /**
       * The daemon's own requests.
       */
      requestsPerSecond?: number
      /**
       * Listing requests at once.
       */
      listConcurrency?: number
      /**
       * Artifacts that engines may be pulling from it at once, over all providers.
       */
      openArtifacts?: number
    }
    /**
     * Type oci without a usable catalog: the repositories to look at.
     */
    repositories?: string[]
    allowPlainHTTP?: AllowPlainHTTP
  }
}
/**
 * Who this object is.
 */
interface Metadata {
  name: Name
  labels?: Labels
  /**
   * Free text for people and other tools; preheatd does not look at it.
   */
  annotations?: {
    [k: string]: string
  }
  /**
   * Accepted and ignored, so that a tool that insists on one can have it.
   */
  namespace?: string
}
/**
 * Free names and values, for selectors.
 */
interface Labels {
  [k: string]: string
}
/**
 * How requests say who asks. basic reads the keys username and password of the secret, bearer reads token.
 */
interface Auth {
  /**
   * How requests say who asks.
   */
  type: 'none' | 'basic' | 'bearer'
  secretRef?: SecretRef
}
/**
 * Names a secret that the daemon's own configuration binds to hosts; its value is never in the repository.
 */
interface SecretRef {
  name: Name
}
/**
 * Certificates, as file names below the daemon's secrets.dir.
 */
interface Tls {
  /**
   * Authorities to trust, PEM, beside none of the usual ones.
   */
  caFile?: SecretFile
  /**
   * Client certificate, PEM.
   */
  certFile?: SecretFile
  /**
   * Key of the client certificate, PEM.
   */
  keyFile?: SecretFile
  /**
   * Accept any certificate. For trying things only.
   */
  insecureSkipVerify?: boolean
}
/**
 * A P2P engine that someone runs somewhere.
 */
export interface ProviderDocument {
  apiVersion: ApiVersion
  /**
   * Provider
   */
  kind: 'Provider'
  metadata: Metadata
  /**
   * What the engine is and how it is reached.
   */
  spec: {
    /**
     * dragonfly: manager Open API, from 2.1.59. dragonfly-v1: the older /preheats API. kraken: from 0.1.3. pull-through: any OCI pull-through cache.
     */
    vendor: 'dragonfly' | 'dragonfly-v1' | 'kraken' | 'pull-through'
    /**
     * The REST address of the engine's manager.
     */
    endpoint: Endpoint
    /**
     * For people.
     */
    description?: string
    /**
     * false: its tasks are Skipped; a policy that names it gets a warning.
     */
    enabled?: boolean
    /**
     * The provider of policies that name none; at most one.
     */
    default?: boolean
    /**
     * How requests say who asks. basic reads the keys username and password of the secret, oauth reads token, custom reads value.
     */
    auth?: {
      /**
       * How requests say who asks.
       */
      mode: 'none' | 'basic' | 'oauth' | 'custom'
      secretRef?: SecretRef
      /**
       * Mode custom: the header that carries the value.
       */
      header?: string
    }
    tls?: Tls
    /**
     * doublestar patterns on <registry>/<project> whose policies may use it; every project where it is left out.
     */
    projects?: Patterns
    /**
     * What its nodes run; every platform of an index where it is left out.
     */
    platforms?: Platforms
    /**
     * Older knowledge of warmth is not believed; 5h where it is left out.
     */
    cacheLifetime?: Duration
    /**
     * How hard the engine may be pressed; per cluster for Dragonfly.
     */
    limits?: {
      /**
       * Submissions at once. Open jobs are not bounded by it.
       */
      submitsInFlight?: number
      /**
       * Requests of every sort.
       */
      requestsPerSecond?: number
    }
    allowPlainHTTP?: AllowPlainHTTP
    /**
     * Settings of the vendor dragonfly. Of these, timeout and pollSchedule are read for dragonfly-v1 and kraken too, and timeout for pull-through.
     */
    dragonfly?: {
      /**
       * all (default): every cluster that the manager lists, one job a cluster. Or a list of names.
       */
      clusters?: 'all' | ClusterNames
      /**
       * Scheduler clusters by id, instead of names.
       */
      clusterIds?: number[]
      /**
       * How far a preheat reaches inside a cluster; single_seed_peer where it is left out.
       */
      scope?: Scope
      /**
       * Which peers, for the scopes all_seed_peers and all_peers.
       */
      peers?: {
        /**
         * Peers by address.
         */
        ips?: string[]
        /**
         * That many peers.
         */
        count?: number
        /**
         * That share of the peers.
         */
        percentage?: number
      }
      /**
       * What makes a task Succeeded.
       */
      require?: {
        /**
         * Scope all_peers: the share of the peers that must hold a blob.
         */
        peers?: string
      }
      /**
       * Which task ids the engine's clients use.
       */
      taskId?: 'auto' | 'url' | 'digest'
      /**
       * One task; 60m where it is left out.
       */
      timeout?: PositiveDuration
      /**
       * Ages of a job at which it is looked at, rising; then every 300s. 30s, 90s, 210s, 450s where it is left out.
       */
      pollSchedule?: PositiveDuration[]
      /**
       * Settings that are handed to Dragonfly as they are; they take part in its task ids.
       */
      options?: {
        /**
         * 4Mi to 64Mi.
         */
        pieceLength?: Size
        /**
         * Part of the task id.
         */
        application?: string
        /**
         * Part of the task id.
         */
        tag?: string
        /**
         * Query parameters that are left out of the task id; the manager's own list where it is left out.
         */
        filteredQueryParams?: string[]
        /**
         * Blobs at once in a scheduler.
         */
        concurrentTaskCount?: number
        /**
         * Peers at once for a blob.
         */
        concurrentPeerCount?: number
      }
    }
    /**
     * Settings of the vendor kraken.
     */
    kraken?: {
      /**
       * origins where origins is set, else notify.
       */
      mode?: 'origins' | 'notify'
      /**
       * Origin servers.
       */
      origins?: Origin[]
      /**
       * The tracker.
       */
      tracker?: Origin
      /**
       * What the origins read from; registry has no OCI manifests.
       */
      backend?: 'registry' | 'other'
      /**
       * Owners that must hold a blob; all that locations names where it is left out.
       */
      replicas?: number
    }
  }
}
/**
 * A standing order: which artifacts, to which providers, when.
 */
export interface PreheatPolicyDocument {
  apiVersion: ApiVersion
  /**
   * PreheatPolicy
   */
  kind: 'PreheatPolicy'
  metadata: Metadata
  /**
   * What is wanted.
   */
  spec: {
    /**
     * For people.
     */
    description?: string
    /**
     * false: nothing runs, manual runs are refused.
     */
    enabled?: boolean
    /**
     * Schedule and events rest, keepWarm and drift too; manual runs go on. Slots that pass meanwhile are counted as Suspended and never made up for.
     */
    suspend?: {
      /**
       * When it ends by itself; left out: when the field is removed.
       */
      until?: Instant
      /**
       * Why; it is shown in the status.
       */
      reason?: string
    }
    /**
     * Name of a Registry; may be left out where exactly one exists.
     */
    registry?: Name
    /**
     * Harbor project; for a registry of type oci the repository prefix, optional there.
     */
    project?: Project
    providers?: ProviderRefs
    /**
     * Providers by label, instead of or beside providers; evaluated at each execution.
     */
    providerSelector?: MatchLabels
    /**
     * Which artifacts; evaluated at each execution.
     */
    filters: {
      /**
       * doublestar patterns without the project prefix, any of them.
       */
      repositories: Patterns
      /**
       * doublestar patterns, any of them.
       */
      tags: Patterns
      /**
       * Names of Harbor labels that an artifact must carry, all of them.
       */
      labels?: string[]
      /**
       * What is left out again, even where the patterns above want it.
       */
      exclude?: {
        repositories?: Patterns
        tags?: Patterns
      }
      /**
       * Sorts of artifacts; image and cnai where it is left out. any: whatever the registry holds.
       */
      types?: ('image' | 'cnai' | 'chart' | 'wasm' | 'cnab' | 'any')[]
      /**
       * Only the newest ones of each repository, of those that all other filters leave.
       */
      newest?: {
        /**
         * How many.
         */
        count: number
        /**
         * pushed: time of the push (harbor, default there). semver: version order of the tags (oci, default there).
         */
        by?: 'pushed' | 'semver'
      }
    }
    /**
     * Beside the filters: named artifacts, name:tag or name@sha256:…, without the project prefix; pulled through a proxy-cache project when not cached yet.
     */
    artifacts?: Artifacts
    /**
     * Whole files by URL; every provider of the policy must be of vendor dragonfly.
     */
    files?: string[]
    /**
     * May tighten what the Harbor project demands, never loosen it.
     */
    criteria?: {
      /**
       * Who must have signed.
       */
      signature?: {
        /**
         * inherit: what the Harbor project demands (harbor, default). ignored: nothing (oci, default). required: a signature exists, whoever made it. verified: it is by one of the keys or identities.
         */
        mode: 'inherit' | 'ignored' | 'required' | 'verified'
        /**
         * Mode verified: public keys in PEM, as paths in this repository below source.path, at most 16 KiB each. One that matches is enough. A changed key is a changed policy.
         */
        keys?: KeyFile[]
        /**
         * Mode verified: who the certificate of a keyless signature must name. One that matches is enough.
         */
        identities?: {
          /**
           * Issuer of the identity, compared whole.
           */
          issuer: string
          /**
           * Subject of the certificate, compared whole.
           */
          subject: string
        }[]
        /**
         * Mode verified, needed with identities: a Sigstore trusted_root.json as a path in this repository, at most 1 MiB; what certificates and transparency logs are checked against. Nothing is fetched from elsewhere: a change of trust is a reviewed commit, and air-gapped sites need no more.
         */
        trustedRoot?: TrustedRootFile
      }
      /**
       * How bad an artifact may be.
       */
      vulnerability?: {
        /**
         * inherit: what the Harbor project demands (harbor, default). ignored: nothing (oci, default). below: strictly below the severity; unscanned is out.
         */
        mode: 'inherit' | 'ignored' | 'below'
        /**
         * Mode below: the first severity that is too bad.
         */
        severity?: 'low' | 'medium' | 'high' | 'critical'
      }
    }
    /**
     * What starts an execution; manual where it is left out.
     */
    trigger?: {
      /**
       * manual: a PreheatRun or the command line. scheduled: by cron. event_based: something happened in the registry.
       */
      type: 'manual' | 'scheduled' | 'event_based'
      /**
       * Type scheduled: when.
       */
      schedule?: {
        /**
         * Minute, hour, day of month, month, day of week; or six fields of which the first, seconds, is 0. Days of month and of week together mean either.
         */
        cron: string
        /**
         * IANA name; UTC where it is left out.
         */
        timeZone?: string
        /**
         * A slot older than this when the daemon gets to it is Missed; 1h where it is left out.
         */
        startingDeadline?: Duration
        /**
         * Slots that passed while the daemon was down: the last one, none (what is more than a minute late), or all of them, oldest first.
         */
        catchUp?: 'once' | 'skip' | 'all'
        /**
         * A slot that comes while the last execution is still open.
         */
        concurrency?: 'forbid' | 'replace' | 'allow'
        /**
         * Start somewhere within this time after the slot, always at the same place for the same policy.
         */
        spread?: Duration
      }
      /**
       * Type event_based: what starts it; push, scan and label where it is left out.
       */
      events?: ('push' | 'scan' | 'label' | 'tag' | 'sign')[]
      /**
       * Type event_based: how often listings are compared, so that a lost delivery is only late.
       */
      poll?: PositiveDuration
      /**
       * Type event_based: how long to gather events before starting.
       */
      debounce?: Duration
    }
    /**
     * Which images of an index; the provider's where it is left out.
     */
    platforms?: Platforms
    /**
     * What to do about what is known to be warm.
     */
    refresh?: {
      /**
       * missing (default): only what is not known to be warm. always: everything, each time.
       */
      mode?: RefreshMode
      /**
       * What was preheated is preheated again before it is that old, so that the engine does not evict it. Well below the engine's own lifetime.
       */
      keepWarm?: PositiveDuration
    }
    /**
     * What to do when something that was warm is not any more.
     */
    drift?: {
      /**
       * off (default), say so, or preheat what is missing.
       */
      mode?: 'off' | 'warn' | 'heal'
      /**
       * How often to look at the engine's caches; 1h where it is left out.
       */
      interval?: PositiveDuration
    }
    /**
     * Over a limit nothing is submitted and the result is Blocked.
     */
    limits?: {
      /**
       * Artifacts that one execution may cover.
       */
      maxArtifacts?: number
      /**
       * Bytes that one execution may cover; unbounded where it is left out.
       */
      maxBytes?: Size
    }
    /**
     * How often a task is tried.
     */
    retry?: {
      /**
       * In all.
       */
      attempts?: number
      /**
       * Before the second attempt, doubling up to 5m; 5s where it is left out.
       */
      backoff?: Duration
    }
    /**
     * One task; the provider's where it is left out.
     */
    timeout?: PositiveDuration
    /**
     * The whole execution; none where it is left out. What is open then is given up: what an engine was given may go on there.
     */
    deadline?: PositiveDuration
  }
}
/**
 * What is said here wins over the Provider's own settings.
 */
interface ProviderRef {
  /**
   * Name of a Provider.
   */
  name: Name
  scope?: Scope
  clusters?: ClusterNames
}
/**
 * Objects that carry all of these labels.
 */
interface MatchLabels {
  /**
   * Labels and their values, all of them.
   */
  matchLabels: {
    [k: string]: string
  }
}
/**
 * A manual run asked for by a commit; it runs once per name and content, ever.
 */
export interface PreheatRunDocument {
  apiVersion: ApiVersion
  /**
   * PreheatRun
   */
  kind: 'PreheatRun'
  metadata: Metadata
  /**
   * What to run, and why.
   */
  spec: {
    /**
     * A PreheatPolicy as project/name, or by its bare name where that is unambiguous.
     */
    policy?: string
    /**
     * Instead of a policy: the Registry of the artifacts; may be left out where exactly one exists.
     */
    registry?: Name
    /**
     * Instead of a policy: the Harbor project of the artifacts; for a registry of type oci the repository prefix, optional there.
     */
    project?: Project
    /**
     * Instead of a policy: where the artifacts go; none: the default provider, else the only one.
     */
    providers?: ProviderRefs
    /**
     * Instead of a policy: these artifacts, name:tag or name@sha256:…, without the project prefix; pulled through a proxy-cache project when not cached yet. What the project demands of signatures and vulnerabilities holds for them.
     */
    artifacts?: Artifacts
    /**
     * Why; it goes into the report.
     */
    reason?: string
    /**
     * What to do about what is known to be warm; where it is left out, as the policy says, and missing for artifacts.
     */
    refresh?: {
      mode: RefreshMode
    }
    /**
     * Later it does nothing, so that a fresh daemon never runs it again.
     */
    expiresAt?: Instant
  }
}
/**
 * preheatd.yaml: the daemon's own configuration, which is not in the config repository.
 */
export interface DaemonConfigDocument {
  apiVersion: ApiVersion
  /**
   * DaemonConfig
   */
  kind: 'DaemonConfig'
  /**
   * name is the instance, `default` where it is left out: in report paths and commit trailers, so that several daemons share a repository.
   */
  metadata?: Metadata
  /**
   * Where the config repository is. One of url and dir.
   */
  source: {
    url?: GitUrl
    /**
     * A plain folder to watch, instead of a remote; for trying things.
     */
    dir?: string
    /**
     * What to follow; the branch main where it is left out.
     */
    ref?: {
      branch?: Branch
      /**
       * A tag. One that is moved is followed.
       */
      tag?: string
      /**
       * The tag of the highest version in a range; tags are 1.2.3 or v1.2.3. Prereleases count only where the range names one, as in >=1.0.0-0.
       */
      semver?: string
      /**
       * One commit, by all of its digits; nothing else is ever looked for.
       */
      commit?: string
    }
    /**
     * Folder inside the repository.
     */
    path?: string
    /**
     * How often to look for a new commit, at least 1s; 1m where it is left out.
     */
    interval?: PositiveDuration
    /**
     * Only the policies and runs with these labels; registries and providers are always taken.
     */
    selector?: MatchLabels
    auth?: GitAuth
    /**
     * Lets the forge say that the source moved, at /hooks/source; source.interval stands behind it. Its secret is what the forge signs or sends: key token, or value.
     */
    webhook?: {
      secretRef: SecretRef
    }
    /**
     * Whether a commit must be signed by somebody whom the operator trusts. One that is not is not applied, and what was applied stays in force.
     */
    verify?: {
      /**
       * none (default), or head: the commit to be applied, or the annotated tag that source.ref follows to it, needs a signature by one of the keys.
       */
      mode?: 'none' | 'head'
      /**
       * Public keys of who may sign: a folder below secrets.dir with allowed_signers as ssh-keygen(1) describes it, with files *.asc of OpenPGP keys, or with both. They are sent nowhere, so it needs no binding.
       */
      secretRef?: SecretRef
    }
  }
  /**
   * Where reports go.
   */
  reports?: {
    /**
     * The source's where it is left out.
     */
    url?: GitUrl
    /**
     * Its own credential, so that the source's can be read-only; the source's where it is left out.
     */
    auth?: GitAuth
    /**
     * An orphan branch of its own; preheat-reports where it is left out.
     */
    branch?: Branch
    /**
     * How long reports of manual runs and changes of result wait for a commit; 60s where it is left out, and 5m for the rest.
     */
    flushInterval?: Duration
    /**
     * An upper bound of commits.
     */
    maxCommitsPerHour?: number
    /**
     * Whether reports name the peers that hold blobs, by host name and address; counts says how many.
     */
    peers?: 'counts' | 'names'
    /**
     * Author of the commits; preheatd <preheatd@localhost> where it is left out.
     */
    author?: {
      /**
       * Name.
       */
      name: string
      /**
       * Address.
       */
      email: string
    }
  }
  /**
   * Where secrets are, and where they may be sent.
   */
  secrets?: {
    /**
     * A folder a secret, a file a key, as Kubernetes mounts them.
     */
    dir?: string
    /**
     * Secrets by name. One that is not bound is refused.
     */
    bindings?: {
      /**
       * Where this secret may be sent.
       */
      [k: string]: {
        /**
         * host or host:port; a leading *. stands for any labels.
         */
        hosts: string[]
        /**
         * Keys that come from the environment instead of the folder, each with the name of its variable.
         */
        env?: {
          username?: EnvironmentVariable
          password?: EnvironmentVariable
          token?: EnvironmentVariable
          value?: EnvironmentVariable
          identity?: EnvironmentVariable
          known_hosts?: EnvironmentVariable
        }
      }
    }
  }
  /**
   * What git cannot hold.
   */
  state?: {
    /**
     * Folder of the embedded store; one worker a folder.
     */
    dir?: string
    /**
     * Variable that holds the URL of a PostgreSQL database; without one, the embedded store in dir.
     */
    databaseUrlEnv?: EnvironmentVariable
  }
  /**
   * What the daemon (run) listens on; once and the other commands open no port.
   */
  http?: {
    /**
     * /livez /readyz /startupz /metrics. Nothing secret, no token. 0.0.0.0:9440 where it is left out.
     */
    probes?: Listen
    /**
     * The API; beyond loopback it needs tokenSecretRef. 127.0.0.1:8081 where it is left out.
     */
    api?: Listen
    /**
     * Where webhooks are received: /hooks/registries/NAME and /hooks/source. Off unless a webhook secret is given, on a Registry or in source.webhook; then 0.0.0.0:9292 where it is left out.
     */
    webhooks?: Listen
    /**
     * Bearer token of the API, its key token; it is asked for on loopback, too.
     */
    tokenSecretRef?: SecretRef
  }
  /**
   * Who is told what happens, beside the reports. github, gitlab and gitea (Forgejo, too) show statuses beside the commits of the config repository: preheatd/INSTANCE says whether a commit is in force, preheatd/INSTANCE/POLICY how the last execution under it ended, at most 50 a commit. webhook and slack get messages.
   *
   * Items: One receiver.
   */
  notifications?: {
    /**
     * What the log calls it.
     */
    name: Name
    /**
     * What it is. slack is any receiver of Slack's incoming webhooks: Mattermost, Rocket.Chat, Discord.
     */
    type: 'github' | 'gitlab' | 'gitea' | 'webhook' | 'slack'
    /**
     * webhook: where to post. slack: the address without its secret part; https://hooks.slack.com/services where it is left out. A forge: its web address; that of source.url where it is left out. Plain http goes to this machine only, but for a webhook, whose secret does not travel.
     */
    url?: Endpoint
    /**
     * Its key token: what a forge takes for a credential (bind it to api.github.com for GitHub), what signs a webhook (X-Signature: sha256=HMAC over the body), or the rest of a Slack address (T0000/B0000/XXXX).
     */
    secretRef: SecretRef
    /**
     * webhook and slack: error for what went wrong only; info, the default, for all.
     */
    severity?: 'info' | 'error'
    /**
     * Only what concerns these policies, as project/name. A forge shows whether the commit is in force all the same. All, and what concerns none, where it is left out.
     */
    policies?: Pattern[]
  }[]
  /**
   * What the daemon says.
   */
  log?: {
    /**
     * How much.
     */
    level?: 'error' | 'warn' | 'info' | 'debug'
    /**
     * json for machines, text for people.
     */
    format?: 'json' | 'text'
  }
  /**
   * How much at once. Open executions and tasks are rows and not bounded.
   */
  concurrency?: {
    /**
     * Executions that are selecting.
     */
    selections?: number
    /**
     * HTTP requests.
     */
    requests?: number
  }
}
/**
 * How git says who asks. basic reads the keys username and password of the secret, bearer reads token, ssh reads identity and known_hosts.
 */
interface GitAuth {
  /**
   * How git says who asks.
   */
  type: 'none' | 'basic' | 'bearer' | 'ssh'
  secretRef?: SecretRef
}
