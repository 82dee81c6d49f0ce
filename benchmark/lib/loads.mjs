// What is measured: each load with the client's options, the figure that counts, and how it is told.

/**
 * `figure` is the client's name of the figure that counts; `higher` tells which way is better. `pinned`: it is also
 * measured with the server on one core. `quick` replaces options where only the working is checked.
 */
export const LOADS = [
  {
    id: 'echo-64-1',
    title: 'Echo, 64 bytes, 100 sockets, 1 in flight',
    load: 'echo',
    options: { sockets: 100, size: 64, 'in-flight': 1 },
    per: 'message',
    pinned: true,
  },
  {
    id: 'echo-64-16',
    title: 'Echo, 64 bytes, 100 sockets, 16 in flight',
    load: 'echo',
    options: { sockets: 100, size: 64, 'in-flight': 16 },
    per: 'message',
    pinned: true,
  },
  {
    id: 'echo-16k-2',
    title: 'Echo, 16 KiB binary, 50 sockets, 2 in flight',
    load: 'echo',
    options: { sockets: 50, size: 16 * 1024, 'in-flight': 2, binary: true },
    per: 'message',
    pinned: true,
  },
  {
    id: 'broadcast-1',
    title: 'Broadcast, 64 bytes to 1,000, 1 in flight',
    load: 'broadcast',
    options: { receivers: 1000, size: 64, 'in-flight': 1 },
    quick: { receivers: 100 },
    per: 'delivery',
    pinned: true,
  },
  {
    id: 'broadcast-4',
    title: 'Broadcast, 64 bytes to 1,000, 4 in flight',
    load: 'broadcast',
    options: { receivers: 1000, size: 64, 'in-flight': 4 },
    quick: { receivers: 100 },
    per: 'delivery',
    pinned: true,
  },
  {
    id: 'churn',
    title: 'Connect, echo, reset, 50 at a time',
    load: 'churn',
    options: { parallel: 50, size: 64 },
    per: 'connection',
    pinned: true,
  },
  {
    id: 'idle',
    title: 'Memory of a socket that was always idle, 10,000 sockets',
    load: 'idle',
    options: { sockets: 10_000 },
    quick: { sockets: 500 },
  },
  {
    id: 'idle-used',
    title: 'Memory of a socket that echoed 8 KiB, 10,000 sockets',
    load: 'idle',
    options: { sockets: 10_000, 'echo-bytes': 8192 },
    quick: { sockets: 500 },
  },
  {
    id: 'flood',
    title: 'Echo 10 times a second on 50 sockets beside 8 that flood',
    load: 'flood',
    options: { flooders: 8, victims: 50, rate: 10 },
    per: 'message',
  },
  {
    id: 'stall',
    title: 'Pings, pages and handshakes while JavaScript is busy for 3 s',
    load: 'stall',
    options: { block: 3000 },
    quick: { block: 1000 },
  },
  {
    id: 'startup',
    title: 'From starting the program to its first page',
    load: 'startup',
    options: { times: 5 },
    quick: { times: 1 },
  },
  {
    id: 'startup-run-server',
    title: 'From calling runServer to accepting, in a Node that runs',
    load: 'startup-run-server',
    options: { times: 5 },
    quick: { times: 1 },
    only: ['pocketsocket'],
  },
]

const thousands = (value) => Math.round(value).toLocaleString('en-US')
const fixed = (digits) => (value) => value.toFixed(digits)
/** A time in microseconds, to three digits. */
const micros = (value) => {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} s`
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} ms`
  return value >= 1e3 ? `${(value / 1e3).toFixed(2)} ms` : `${value.toFixed(0)} us`
}
const column = (figure, head, tell) => ({ figure, head, tell })
const CPU = [column('server_cpu_us', 'server CPU us', fixed(2)), column('main_thread_cpu_us', 'JS thread us', fixed(2))]
const LATENCY = [column('latency_p50_us', 'p50', micros), column('latency_p99_us', 'p99', micros)]
const throughput = (what) => ({
  main: column(`${what}_per_second`, `${what}/s`, thousands),
  higher: true,
  others: [...LATENCY, ...CPU, column('client_cpu_us', 'client CPU us', fixed(2))],
})
const startup = { main: column('startup_p50_ms', 'ms', fixed(1)), higher: false, others: [] }

/** For each kind of load: the figure that counts, which way is better, and what stands beside it. */
export const SHOWN = {
  echo: throughput('messages'),
  broadcast: throughput('deliveries'),
  churn: throughput('connections'),
  idle: {
    main: column('rss_bytes_a_socket', 'bytes a socket', thousands),
    higher: false,
    others: [column('rss_mib_before', 'MiB before', fixed(0))],
  },
  flood: {
    main: column('latency_p99_us', 'victims p99', micros),
    higher: false,
    others: [
      column('latency_p50_us', 'victims p50', micros),
      column('victims_goodput_percent', 'goodput %', fixed(0)),
      column('handshake_p99_us', 'handshake p99', micros),
      column('flood_per_second', 'flood/s', thousands),
    ],
  },
  stall: {
    main: column('ping_p99_us', 'ping p99', micros),
    higher: false,
    others: [column('page_p99_us', 'page p99', micros), column('handshake_p99_us', 'handshake p99', micros)],
  },
  startup,
  'startup-run-server': startup,
}
