import { runFloor, runIdeal, runScript, type Believed, type Place } from './contenders.ts'
import type { Scenario } from './scenarios.ts'

/** A contender to be run, as the process is told in its only argument; its parent is sent the entries of what it believes. */
export interface ClientWork {
  readonly contender: ClientName
  readonly scenario: Scenario
  readonly place: Place
}

export type ClientName = keyof typeof CLIENTS

const CLIENTS = {
  floor: runFloor,
  ideal: runIdeal,
  seq: (scenario: Scenario, place: Place): Promise<Believed> => runScript(scenario, place, 1),
  par10: (scenario: Scenario, place: Place): Promise<Believed> => runScript(scenario, place, 10),
}

const { contender, scenario, place } = JSON.parse(process.argv[2] ?? '') as ClientWork
process.send!([...(await CLIENTS[contender](scenario, place))])
process.disconnect()
