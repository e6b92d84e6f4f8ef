import { join } from 'node:path'
import type { GitAuth } from '../model/auth.ts'
import type { ReadSecret } from '../model/secret.ts'
import { withCredential } from './credentials.ts'
import { MirrorFolder } from './mirror-folder.ts'
import { commitTree, writeTree } from './objects.ts'
import { defaultDeadlines, remoteBranch } from './remote.ts'
import { lsRemote, tryPush } from './transfer.ts'

export interface PushCheck {
  readonly url: string
  readonly branch: string
  /** For a scratch repository; ours alone. */
  readonly dir: string
  readonly auth: GitAuth
  readonly read: ReadSecret
}

/**
 * Proves that the remote lets this credential read and begin a push to the branch. Changes nothing there: the push is
 * a dry run, of an empty commit that descends from nothing.
 * @returns is the branch there already?
 * @throws {SourceError}
 */
export async function checkPush({ url, branch, dir, auth, read }: PushCheck, signal: AbortSignal): Promise<boolean> {
  const to = remoteBranch(url, branch)
  const mirror = new MirrorFolder(dir, to)
  return await mirror.use(signal, async () => {
    const tree = await writeTree(mirror.gitDir, join(mirror.scratch, 'index'), undefined, new Map(), signal)
    const author = { name: 'preheatd', email: 'preheatd@localhost', atSeconds: 0 }
    const commit = await commitTree(mirror.gitDir, tree, undefined, 'check', author, signal)
    return await withCredential(to.url, auth, read, async (credential) => {
      const remote = { ...to, credential, deadlines: defaultDeadlines }
      const tip = await lsRemote(remote, signal)
      await tryPush(mirror.gitDir, remote, commit, signal)
      return tip !== undefined
    })
  })
}
