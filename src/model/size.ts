const FACTORS = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
} as const

/**
 * `500Gi` (2^30) or `10G` (10^9) as bytes.
 * @throws {TypeError} for anything else.
 */
export function parseSize(text: string): number {
  const match = /^(\d+)(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$/.exec(text)
  const bytes = match === null ? Number.NaN : Number(match[1]) * FACTORS[(match[2] ?? '') as keyof typeof FACTORS]
  if (!Number.isSafeInteger(bytes)) throw new TypeError(`not a size: ${JSON.stringify(text)} (write 500Gi or 10G)`)
  return bytes
}

/** Bytes for people: `3.9 GiB`. */
export function formatSize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  const step = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10))
  const amount = bytes / 2 ** (10 * step)
  return `${step === 0 || amount >= 100 ? Math.round(amount) : amount.toFixed(1)} ${units[step]!}`
}
