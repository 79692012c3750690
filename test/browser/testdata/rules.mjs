// What the library promises when things go wrong, against a server that makes them go wrong: its path says how.
import { connect } from "@portico/client"
import { url, options } from "./where.mjs"

const say = (...words) => console.log(words.join(" "))
const code = (promise) => promise.then(() => "done", (error) => (typeof error.code === "string" ? error.code : error.name))
const open = (path, more) => connect(url + path, { ...options, reconnect: { min: 10, max: 50 }, ...more })
const until = (portico, status) => new Promise((resolve) => portico.on("status", (e) => e.status === status && resolve(e)))

// The connection breaks before publishes are answered: those with an id are sent again, under the same id; the others fail, since they may have been done.
{
  const portico = open("/lossy")
  await portico.opened
  say("under way:", await Promise.all([code(portico.publish("a", "x")), code(portico.publish("a", "y", { id: "same" })), code(portico.publish("a", "z", { id: "other" }))]))
  say("the server has seen", (await portico.request("seen")).text())
  await portico.close()
  say("closed:", await code(portico.publish("a")), (await portico.closed) === undefined)
}

// What waits for a connection has a bound, and a call may refuse to wait.
{
  const waits = open("/nowhere", { maxPending: 3, maxPendingBytes: 1000 })
  const held = [1, 2, 3].map(() => code(waits.publish("a")))
  say("a fourth:", await code(waits.publish("a")))
  const e = await until(waits, "connecting")
  say("again in time:", e.retryIn >= 0 && e.retryIn <= 50, e.error.code)
  say("short of time:", await code(waits.publish("a", "", { timeout: 20 }).catch(() => waits.ping())))
  await waits.close()
  say("held:", await Promise.all(held))
  const bytes = open("/nowhere", { maxPendingBytes: 1000 })
  const big = code(bytes.publish("a", "x".repeat(2000)))
  say("more bytes:", await code(bytes.publish("a", "x")))
  await bytes.close()
  say("the first:", await big)
  const hurried = open("/nowhere", { offline: "fail" })
  say("at once:", await code(hurried.publish("a")))
  await hurried.close()
  const tries = open("/nowhere", { reconnect: { min: 1, max: 1, retries: 2 } })
  say("given up:", (await tries.closed).code, tries.status)
}

// Signals.
{
  const portico = open("/deaf")
  const stop = new AbortController()
  const sent = code(portico.publish("a", "", { signal: stop.signal }))
  const loop = portico.subscribe("a", { signal: stop.signal })
  stop.abort()
  for await (const _ of loop) say("never")
  say("aborted:", await sent, await code(portico.publish("a", "", { signal: stop.signal })))
  await portico.close()
  const all = new AbortController()
  const other = open("/deaf", { signal: all.signal })
  all.abort()
  say("aborted:", other.status)
}

// A loop that does not keep up.
for (const overflow of ["drop-oldest", "drop-newest", "close"]) {
  const portico = open("/flood")
  const slow = portico.subscribe("a", { buffer: 2, overflow })
  let dropped = 0
  slow.on("gap", (gap) => (dropped += gap.dropped))
  await slow.ready
  await portico.ping()
  const got = []
  const failed = await code((async () => {
    for await (const m of slow) {
      got.push(m.text())
      if (got.length === 2 && overflow !== "close") break
    }
  })())
  say(overflow + ":", got, dropped, failed)
  await portico.close()
}

// What the gateway ends for a moment is opened again, what it ends for good is over.
{
  const portico = open("/fickle")
  const again = portico.subscribe("a", { stream: "s" })
  for await (const m of again) {
    say("again:", m.text())
    break
  }
  say("over:", (await portico.subscribe("never").done).code)
  await portico.close()
}

// Tokens: asked for when one is refused, and before one expires. A user's password is not tried twice.
{
  let n = 0
  const portico = open("/login", { token: async () => `token ${++n}` })
  await portico.opened
  say("token:", n, portico.user)
  while (n < 3) await portico.ping()
  say("refreshed:", (await portico.request("seen")).text())
  await portico.close()
  const wrong = open("/login", { user: "ann", password: "wrong" })
  say("refused:", (await wrong.closed).code, await code(wrong.opened))
  const nobody = open("/login")
  say("refused:", (await nobody.closed).code)
  const always = open("/login", { token: () => "token 0" })
  say("refused:", (await always.closed).code)
}

// A message above the limit is not sent at all; other failures come as they are.
{
  const portico = open("/deaf")
  await portico.opened
  say("too large:", await code(portico.publish("a", "ü".repeat(600))))
  say("bad address:", (await connect("ftp://x", options).closed).code)
  await portico.close()
}

//> under way: connection-lost,done,done
//> the server has seen x y z y z
//> closed: closed true
//> a fourth: resource-exhausted
//> again in time: true connection-lost
//> short of time: resource-exhausted
//> held: closed,closed,closed
//> more bytes: resource-exhausted
//> the first: closed
//> at once: unavailable
//> given up: connection-lost closed
//> aborted: AbortError AbortError
//> aborted: closed
//> drop-oldest: 9,10 108 done
//> drop-newest: 1,2 108 done
//> close: 1,2 0 resource-exhausted
//> again: behind 7
//> over: not-found
//> token: 2 ann
//> refreshed: token 3
//> refused: unauthenticated unauthenticated
//> refused: unauthenticated
//> refused: unauthenticated
//> too large: too-large
//> bad address: invalid-argument
