/**
 * Takes credentials out of a text by value, in the spellings in which servers echo them: whole, without the scheme,
 * the parts of a Basic pair, each as it is, base64 and URL-encoded.
 */
export function redact(text: string, secrets: readonly string[]): string {
  return [...new Set(secrets.flatMap(parts))]
    .filter((secret) => secret.length >= 4)
    .sort((a, b) => b.length - a.length)
    .flatMap((secret) => [secret, Buffer.from(secret).toString('base64'), encodeURIComponent(secret)])
    .reduce((clean, secret) => clean.replaceAll(secret, '[secret]'), text)
}

function parts(secret: string): string[] {
  const bare = secret.replace(/^\S+ +/, '')
  if (!/^basic /i.test(secret)) return [secret, bare]
  const pair = Buffer.from(bare, 'base64').toString()
  return [secret, bare, pair, pair.slice(pair.indexOf(':') + 1)]
}
