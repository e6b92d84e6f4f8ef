import { describe, expect, test } from 'vitest'
import type { Question } from '../../../src/engine/dragonfly/claims.ts'
import { emptyNotes, noted, parseNotes, probedClaims, type Notes } from '../../../src/engine/dragonfly/probe.ts'
import { parseJob } from '../../../src/engine/dragonfly/wire.ts'
import type { Digest } from '../../../src/model/artifact.ts'
import type { PeerChoice } from '../../../src/model/provider.ts'
import { digest } from '../../support/examples.ts'

const [config, layer] = [digest('config'), digest('layer')]
const question: Question = {
  repository: 'library/app',
  scope: 'all_peers',
  blobs: [config, layer],
  cluster: 1,
  requiredShare: 1,
  peers: {},
}

const peer = (name: string, more: object = { IsFinished: true }, type = 'normal') => ({
  id: name,
  hostname: name,
  ip: `10.0.0.${name.slice(-1)}`,
  host_type: type,
  ...more,
})

/** What the schedulers said of a blob: cluster id and peers, an entry each. */
type Said = readonly (readonly [cluster: number, peers: readonly object[] | null])[]

function note(
  notes: Notes,
  blob: Digest,
  said: Said,
  args: object = { concurrent_peer_count: 500 },
): Notes | undefined {
  const states = said.map(([id, peers]) => ({ results: [{ scheduler_cluster_id: id, peers }] }))
  const row = { id: 1, type: 'get_task', state: 'SUCCESS', bio: '', args, result: { job_states: states } }
  return noted(notes, blob, parseJob(Buffer.from(JSON.stringify(row)))!)
}

function claims(ofConfig: Said, ofLayer: Said, overrides: Partial<Question> = {}) {
  const notes = note(note(emptyNotes('url'), config, ofConfig)!, layer, ofLayer)!
  // As they come back from the task's row.
  const kept = parseNotes(JSON.stringify({ v: 2, own: notes, sample: [] }))!
  return probedClaims(kept.own, { ...question, ...overrides })
}

const [a, b, c] = [peer('a0'), peer('b1'), peer('c2')]
const halfB = peer('b1', { IsFinished: false })
const seed = peer('s9', { IsFinished: true }, 'super')

describe('what the hosts say', () => {
  test('a host that several schedulers know is one host', () => {
    expect(
      claims(
        [
          [1, [a]],
          [1, [a, b]],
        ],
        [[1, [b, a]]],
      ),
    ).toMatchObject({ cached: [config, layer], peers: 2 })
  })

  test('half a blob is none', () => {
    expect(claims([[1, [a, b]]], [[1, [a, halfB]]])?.cached).toEqual([config])
  })

  test('a host that lacks a blob and has another one counts', () => {
    expect(claims([[1, [a, b, c]]], [[1, [a, b]]])?.cached).toEqual([config])
    expect(claims([[1, [a, b, c]]], [[1, [a, b]]], { requiredShare: 0.66 })?.cached).toEqual([config, layer])
  })

  test('seeds and peers are counted by scope; any of them does for a single seed peer', () => {
    const said = [[[1, [a, seed]]], [[1, [a]]]] as const

    expect(claims(...said)).toMatchObject({ cached: [config, layer], peers: 1 })
    expect(claims(...said, { scope: 'all_seed_peers' })).toMatchObject({ cached: [config], peers: 1 })
    expect(claims(...said, { scope: 'single_seed_peer' })).toMatchObject({ cached: [config, layer], peers: 2 })
  })

  test.each(['super', 'strong', 'weak'])('a host of type %s is a seed, whatever seeds are called', (type) => {
    const one = peer('s9', { IsFinished: true }, type)

    expect(claims([[1, [one]]], [[1, [one]]], { scope: 'all_seed_peers' })?.cached).toEqual([config, layer])
  })

  test('nobody has anything: that is an observation too', () => {
    expect(claims([[1, null]], [[1, []]])).toEqual({
      kind: 'get_task',
      source: 'observed',
      cached: [],
      peers: 0,
      peerNames: [],
    })
  })

  test.each<[PeerChoice, Digest[]]>([
    [{}, [config]],
    [{ count: 2 }, [config, layer]],
    [{ count: 9 }, [config]],
    [{ percentage: 67 }, [config, layer]],
    [{ ips: ['10.0.0.0', '10.0.0.1', '10.0.0.1'] }, [config, layer]],
    [{ ips: ['10.0.0.0', '10.0.0.7'] }, []],
  ])('of three peers, two having the layer, where %j are aimed at', (peers, expected) => {
    expect(claims([[1, [a, b, c]]], [[1, [a, b]]], { peers })?.cached).toEqual(expected)
  })

  test('without a cluster of its own a blob counts when every cluster that answered has it', () => {
    const two = [
      [1, [a]],
      [2, [b]],
    ] as const

    expect(
      claims(
        two,
        [
          [1, [a]],
          [2, null],
        ],
        { cluster: undefined },
      )?.cached,
    ).toEqual([config])
  })

  test('a cluster that did not answer shows nothing', () => {
    expect(claims([[2, [a]]], [[2, [a]]])).toBeUndefined()
  })
})

describe('what cannot be told', () => {
  test('without IsFinished presence is not completeness', () => {
    expect(note(emptyNotes('url'), config, [[1, [peer('a0', {})]]])).toBeUndefined()
  })

  test('a manager before 2.3.1 asks nobody, so that an empty list says nothing', () => {
    expect(note(emptyNotes('url'), config, [[1, null]], { url: 'x' })).toBeUndefined()
  })

  test('more hosts than a row should hold', () => {
    const many = (hosts: number) => [[1, Array.from({ length: hosts }, (_, i) => peer(`h${i}`))]] as const

    expect(note(emptyNotes('url'), config, many(20_000))).toBeDefined()
    expect(note(emptyNotes('url'), config, many(20_001))).toBeUndefined()
  })

  test.each(['', '{', 'null', '7', '{"v":1}'])('notes like %j are none', (text) => {
    expect(parseNotes(text)).toBeUndefined()
  })
})
