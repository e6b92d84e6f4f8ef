import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // Half of the time is waiting for other processes: on two cores vitest would take one worker, and eight minutes.
    maxWorkers: 2,
    // Nobody's git identity, hooks or signing keys may decide whether a test passes.
    env: { GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1', GIT_TERMINAL_PROMPT: '0' },
  },
})
