/** Lets an error become an uncaught exception, outside of what runs: the rest of it goes on all the same. */
export function surface(error: unknown): void {
  setImmediate(() => {
    throw error
  })
}
