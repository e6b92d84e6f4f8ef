import { redact } from './redact.ts'
import { isExposed } from '../model/address.ts'
import { EdgeError, excerpt } from '../model/errors.ts'
import type { Provider } from '../model/provider.ts'
import type { ArtifactOrder, Order } from '../model/task.ts'
import type { Secret } from '../model/secret.ts'

/**
 * Keeps a pull token from a provider that it would reach over plain http, unless its Provider allows that.
 * @throws {EdgeError} PH3012
 */
export function refuseExposedToken(
  { name, endpoint, allowPlainHttp }: Pick<Provider, 'name' | 'endpoint' | 'allowPlainHttp'>,
  authorization: Secret | undefined,
): void {
  if (authorization !== undefined && isExposed(new URL(endpoint)) && !allowPlainHttp)
    throw new EdgeError('rejected', 'PH3012', `provider ${name}: a pull token would go to it over plain http`)
}

/**
 * The order as it is, for an engine that takes artifacts only.
 * @param who `provider kraken-eu`
 * @throws {EdgeError} PH3007 for a file
 */
export function artifactOrder(order: Order, who: string): ArtifactOrder {
  if ('file' in order)
    throw new EdgeError('rejected', 'PH3007', `${who} preheats no files, which only Dragonfly’s manager does`)
  return order
}

/**
 * `provider dragonfly-eu answered a submission with HTTP 422: EOF`
 * @param words what the engine said; undefined: nothing that could be read
 * @param secrets what the request carried; no echo of it gets into the text
 */
export function answeredWith(
  who: string,
  action: string,
  status: number,
  words: string | undefined,
  secrets: readonly string[],
): string {
  const said = words === undefined ? '' : `: ${excerpt(redact(words, secrets))}`
  return `${who} answered ${action} with HTTP ${status}${said}`
}
