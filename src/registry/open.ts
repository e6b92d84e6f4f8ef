import { HarborSource } from './harbor/harbor.ts'
import { OciSource } from './oci.ts'
import type { ArtifactSource } from './registry.ts'
import type { Clock } from '../model/clock.ts'
import type { ReadSecret } from '../model/secret.ts'
import type { Registry } from '../model/registry.ts'
import type { Tls } from '../model/auth.ts'
import type { TlsMaterial } from '../http.ts'

/** What a registry needs of the daemon. */
export interface RegistryPorts {
  readonly read: ReadSecret
  /** Reads the files that `tls` names; undefined when it names none. */
  tls(tls: Tls): Promise<TlsMaterial | undefined>
  readonly clock: Clock
}

/**
 * Opens a declared registry. Contacts nobody; its TLS files are read now.
 * @throws what `ports.tls` throws
 */
export async function openRegistry(registry: Registry, ports: RegistryPorts): Promise<ArtifactSource> {
  const tls = await ports.tls(registry.tls)
  switch (registry.type) {
    case 'harbor':
      return new HarborSource(registry, ports.read, ports.clock, tls)
    case 'oci':
      return new OciSource(registry, ports.read, ports.clock, tls)
    default:
      return registry.type satisfies never
  }
}
