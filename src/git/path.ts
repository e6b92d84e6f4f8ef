import { excerpt } from '../model/errors.ts'
import { SourceError } from '../model/source.ts'

/**
 * The path of a report: relative, of slugs, at most 4096 characters. Reports are named by validated names only, so
 * anything else is a defect of ours; it must not reach a file system or a tree all the same.
 * @throws {SourceError} `Invalid`
 */
export function reportPath(path: string): string {
  const isGood =
    path.length <= 4096 &&
    path.split('/').every((part) => /^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$/.test(part) && !part.includes('..'))
  if (!isGood) throw new SourceError('Invalid', 'PH4006', `no path for a report: ${excerpt(path, 80)}`)
  return path
}

/**
 * `source.path` as git names a folder of a tree: no slash at either end, empty for the top level.
 * @throws {SourceError} `Invalid` when it leaves the repository or holds what no folder name should
 */
export function folderPath(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  if (path.startsWith('/') || parts.includes('..') || /[\p{Cc}\s]/u.test(path) || path.length > 4096) {
    throw new SourceError('Invalid', 'PH4006', `source.path must be a folder of the repository: ${excerpt(path, 80)}`)
  }
  return parts.join('/')
}
