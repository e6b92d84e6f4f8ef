import type { Digest } from './artifact.ts'

/** The two kinds that Harbor tells apart: a presence of either says nothing of who signed. */
export type SignatureKind = 'cosign' | 'notation'

/** Something that stands beside an artifact and may be a signature of it. Its bytes match their digest; nothing else is checked. */
export type SignatureMaterial =
  /** One layer of cosign's classic form. */
  | {
      readonly kind: 'simple-signing'
      /** The manifest that it was found in, for messages. */
      readonly foundIn: Digest
      readonly payload: Uint8Array
      /** Of the layer: the signature, and a certificate where there is one. */
      readonly annotations: Readonly<Record<string, string>>
    }
  /** A Sigstore bundle. */
  | { readonly kind: 'bundle'; readonly foundIn: Digest; readonly json: Uint8Array }

/** Whose signatures a policy accepts; one that matches is enough. */
export interface Trust {
  /** `name` is the path in the config repository. */
  readonly keys: readonly { readonly name: string; readonly pem: string }[]
  /** Both matched whole. */
  readonly identities: readonly { readonly issuer: string; readonly subject: string }[]
  /** A Sigstore `trusted_root.json`; what certificates are checked against. */
  readonly trustedRoot: { readonly name: string; readonly json: string } | undefined
}
