const SCP = /^([A-Za-z0-9_][A-Za-z0-9_.-]*)@([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?):(?![-/]*\/\/|-)(\S+)$/

/**
 * The address of a git remote as a URL, to look at: `git@host:path` is the ssh URL of the same host. Hosts are in lower
 * case. Undefined: it is no address of any kind.
 */
export function gitUrl(address: string): URL | undefined {
  const [, user, host, path] = SCP.exec(address) ?? []
  const text = host === undefined ? address : `ssh://${user!}@${host}/${path!.replace(/^\//, '')}`
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  // Only of the web's own schemes is this done already.
  if (url.protocol === 'ssh:') url.hostname = url.hostname.toLowerCase()
  return url
}

/** Why git must not be started with this ssh address; undefined: it may. */
export function sshTrouble({ username, password, hostname, pathname }: URL): string | undefined {
  if (password !== '') return 'an ssh address must not hold a password'
  if (username !== '' && !/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(username)) return 'its user is no name of an account'
  if (!/^(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])$/.test(hostname)) return 'its host is no host name'
  return pathname.length < 2 ? 'it names no repository' : undefined
}
