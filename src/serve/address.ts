/** Where to listen. */
export interface HostPort {
  readonly host: string
  readonly port: number
}

/** `127.0.0.1:8081`, `[::1]:8081`, `localhost:0`. @throws {TypeError} for anything else */
export function parseAddress(text: string): HostPort {
  const [, v6, name, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+)):(\d{1,5})$/.exec(text) ?? []
  const host = v6 ?? name
  if (host === undefined || Number(port) > 65_535)
    throw new TypeError(`not an address and a port: ${JSON.stringify(text)}`)
  return { host, port: Number(port) }
}

/** Names and addresses that nobody beyond this machine reaches. */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[?::1\]?)$/i.test(host)
}
