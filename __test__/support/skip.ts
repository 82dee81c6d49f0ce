// Tests that need what a machine may lack. With REQUIRE_ALL=1, as in CI, a lack is a failure.

import type { ExecutionContext } from 'ava'

/** True if the test is to end here, because `what` is missing; says so. */
export function lacks(t: ExecutionContext, present: boolean, what: string): boolean {
  if (present) return false
  if (process.env.REQUIRE_ALL === '1') throw new Error(`${t.title}: cannot run: ${what}`)
  t.log(`SKIPPED: ${what}`)
  t.pass()
  return true
}
