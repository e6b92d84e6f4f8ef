import tmp from 'tmp'

/** A folder of this command's own, to be removed by it; it goes with the process, too, however soon a second signal ends that. */
export function scratchFolder(
  command: 'check' | 'explain' | 'plan' | 'warm',
): Pick<tmp.DirResult, 'name' | 'removeCallback'> {
  tmp.setGracefulCleanup()
  return tmp.dirSync({ unsafeCleanup: true, prefix: `preheatd-${command}` })
}
