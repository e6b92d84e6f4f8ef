import { listTree, resolveRevision } from './objects.ts'
import { SourceError, type SourceTree } from '../model/source.ts'
import { folderPath } from './path.ts'
import { readBlobs, readHead, sourceEntry } from './tree.ts'

/**
 * The configuration as it stands at a revision of the local repository that `dir` is in, read by plumbing: neither
 * index nor work tree are looked at, nothing is written. A folder that the revision does not have is empty there.
 * @param rev what git calls a revision: `origin/main`, `HEAD~1`, a commit id
 * @param path below `dir`
 * @throws {SourceError} `RefNotFound` when there is no such commit, `Invalid` when there is no repository
 */
export async function openRevision(dir: string, rev: string, path: string, signal: AbortSignal): Promise<SourceTree> {
  const { gitDir, commit, prefix } = await resolveRevision(dir, rev, signal)
  const head = await readHead(gitDir, commit, folderPath(`${prefix}${folderPath(path)}`), 'read', signal)
  if (head === undefined) throw new SourceError('Invalid', 'PH4006', `commit ${commit.slice(0, 12)} cannot be read`)
  const entries = head.tree === undefined ? [] : await listTree(gitDir, head.tree, 'read', signal)
  return {
    config: head.config,
    entries: entries.map(sourceEntry),
    read: (wanted, during) => readBlobs(gitDir, wanted, 'read', during),
  }
}
