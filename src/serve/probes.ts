import { Hono } from 'hono'
import type { Heartbeats } from './heartbeats.ts'

export interface ProbePorts {
  readonly heartbeats: Pick<Heartbeats, 'pulses'>
  /** Are the listeners up and the state loaded? Remote outages do not count; a stop does. */
  readonly isReady: () => boolean
  /** Is the configuration loaded and the source looked at once, whatever came of it? */
  readonly isStarted: () => boolean
  readonly metrics: { readonly contentType: string; render(): Promise<string> }
}

/** What an orchestrator and Prometheus ask. Nothing secret, no token. */
export function probesApp({ heartbeats, isReady, isStarted, metrics }: ProbePorts): Hono {
  const app = new Hono()
  app.get('/livez', (c) => {
    const pulses = heartbeats.pulses()
    const isLate = pulses.some((one) => one.isLate)
    const lines = pulses.map(
      (one) => `[${one.isLate ? '-' : '+'}] ${one.loop} beat ${Math.round(one.ageMs / 1000)} s ago`,
    )
    if (isLate) return c.text(`${lines.join('\n')}\nlivez failed\n`, 503)
    return c.text(c.req.query('verbose') === undefined ? 'ok\n' : `${lines.join('\n')}\nlivez ok\n`)
  })
  app.get('/readyz', (c) => (isReady() ? c.text('ok\n') : c.text('not ready\n', 503)))
  app.get('/startupz', (c) => (isStarted() ? c.text('ok\n') : c.text('starting\n', 503)))
  app.get('/metrics', async (c) => c.body(await metrics.render(), 200, { 'content-type': metrics.contentType }))
  return app
}
