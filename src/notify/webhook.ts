import { createHmac } from 'node:crypto'
import { formatInstant } from '../model/duration.ts'
import type { ReadSecret } from '../model/secret.ts'
import type { ChannelSettings, Compose } from './channel.ts'
import { keyOf } from './recent.ts'

/**
 * A JSON document by POST, signed over its bytes. It has the fields that Flux's notification-controller sends to a
 * provider of type generic-hmac, so that what receives those receives these.
 * @see fluxcd/notification-controller docs/spec/v1beta3/providers.md
 */
export function openWebhook({ url, secret, instance }: ChannelSettings, read: ReadSecret): Compose {
  return async (notice) => {
    const { object, severity, reason, at, message, executionId, revision } = notice
    const metadata = { execution: executionId, revision, url: notice.url, id: `${keyOf(notice).slice(0, 32)}-${at}` }
    const body = JSON.stringify({
      involvedObject: { apiVersion: 'preheatd.io/v1alpha1', kind: object.kind, name: object.name },
      severity,
      timestamp: formatInstant(at),
      message,
      reason,
      metadata,
      reportingController: 'preheatd',
      reportingInstance: instance,
    })
    const key = await read(secret, 'token', new URL(url))
    const signature = createHmac('sha256', key.reveal()).update(body).digest('hex')
    return {
      method: 'POST',
      url,
      headers: { 'content-type': 'application/json', 'x-signature': `sha256=${signature}` },
      body,
      timeoutMs: 15_000,
      maxBytes: 65_536,
    }
  }
}
