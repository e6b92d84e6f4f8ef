import { RateLimit } from '../rate-limit.ts'
import { HttpOrigin, isRedirect, retryAfterMs, type HttpAnswer } from '../http.ts'
import { EdgeError, excerpt } from '../model/errors.ts'
import type { Channel, ChannelPorts, ChannelSettings } from './channel.ts'
import { openSlack } from './slack.ts'
import { openWebhook } from './webhook.ts'

/** Sends nothing yet. */
export function openChannel(settings: ChannelSettings, ports: ChannelPorts): Channel {
  const { name, url, type } = settings
  const who = `notification ${name}`
  const http = new HttpOrigin(url, who, { unreachable: 'PH8031', unintelligible: 'PH8032' }, undefined)
  const request = { webhook: openWebhook, slack: openSlack }[type](settings, ports.read)
  const turns = new RateLimit(ports.clock, 1)
  return {
    async deliver(notice, signal) {
      await turns.take(signal)
      const answer = await http.send(await request(notice), signal)
      if (answer.status >= 200 && answer.status < 300) return
      throw refusal(who, answer, ports)
    },
    [Symbol.asyncDispose]: () => http[Symbol.asyncDispose](),
  }
}

function refusal(who: string, { status, headers, bytes }: HttpAnswer, { clock, scrub }: ChannelPorts): EdgeError {
  const words = excerpt(scrub(bytes.toString('utf8')))
  const hint = isRedirect(status) ? '; redirects are not followed, name the address that it leads to' : ''
  const message = `${who} answered with HTTP ${status}${words === '' ? '' : `: ${words}`}${hint}`
  const isPassing = status === 429 || status === 408 || status >= 500
  if (!isPassing) return new EdgeError('rejected', 'PH8032', message)
  return new EdgeError('unavailable', 'PH8031', message, { retryAfterMs: retryAfterMs(headers, clock.now()) })
}
