import type { ArtifactOrder, Job } from '../model/task.ts'

// No `..`, no percent sign, no query: what passes means the same in a URL as in a registry.
const REPOSITORY = /^[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*$/i

/** Is this an OCI name, which may stand in a URL as it is? */
export function isPlainRepository(name: string): boolean {
  return name.length <= 255 && REPOSITORY.test(name)
}

/** The URL of a job's manifest as nodes pull it, by digest; undefined for a repository that is no OCI name, and for the job of a file. */
export function manifestUrl(order: ArtifactOrder, job: Job): string | undefined {
  if (job.manifest === undefined || !isPlainRepository(order.repository)) return undefined
  return `${order.engineEndpoint}/v2/${order.repository}/manifests/${job.manifest}`
}
