/** Several platforms of one image. */
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'
/** One platform. */
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
/** Several platforms, as Docker wrote them before OCI. */
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json'
/** One platform, likewise. */
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'

/** Without all four, Distribution hides OCI manifests or converts to schema 1 (contracts/kraken-and-registries.md §5.2). */
export const MANIFEST_TYPES = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(', ')
