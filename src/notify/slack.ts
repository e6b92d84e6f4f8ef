import { OperatorError } from '../model/errors.ts'
import type { Notice } from '../model/notice.ts'
import type { ReadSecret } from '../model/secret.ts'
import type { ChannelSettings, Compose } from './channel.ts'

/** `T0000/B0000/XXXX`, or what Mattermost, Rocket.Chat or Discord has there. */
const REST = /^[\w-]+(?:\/[\w-]+)*$/

/** An incoming webhook as Slack has them. The secret part of its address is read for each message. */
export function openSlack({ name, url, secret, instance }: ChannelSettings, read: ReadSecret): Compose {
  return async (notice) => {
    const rest = (await read(secret, 'token', new URL(url))).reveal()
    if (!REST.test(rest))
      throw new OperatorError('PH7001', `secret ${secret}/token is not the rest of an address, as ${name} needs it`)
    return {
      method: 'POST',
      url: `${url.replace(/\/+$/, '')}/${rest}`,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ text: slackText(notice, instance) }),
      timeoutMs: 15_000,
      maxBytes: 65_536,
    }
  }
}

/** The notice in Slack's mark-up, which is longer than 40,000 characters for nobody: messages come cut. */
export function slackText(notice: Notice, instance: string): string {
  const { object, severity, reason, message, executionId, revision, url } = notice
  const footer = [
    `instance ${instance}`,
    ...(executionId === undefined ? [] : [`execution ${executionId}`]),
    ...(revision === undefined ? [] : [`commit ${revision.slice(0, 12)}`]),
  ]
  const link = url === undefined ? '' : ` · <${escape(url).replaceAll('|', '%7C')}|reports>`
  const head = `*${severity === 'error' ? 'Error' : 'Info'}* ${escape(`${object.kind} ${object.name}`)} ${reason}`
  return `${head}\n${escape(message)}\n${escape(footer.join(' · '))}${link}`
}

/** Nothing in a message is mark-up or calls everybody: Mattermost takes a bare `@channel` for a call. */
function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll(/@(?=(?:channel|here|all|everyone)\b)/gi, '@\u200b')
}
