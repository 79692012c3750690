// What a page does with the library, told line by line, through a gateway that is killed and started again. The line "restart me" asks for that.
import { connect } from "@portico/client"
import { cbor } from "@portico/client/cbor"
import { url, options } from "./where.mjs"

const say = (...words) => console.log(words.join(" "))

// The things that come, to be waited for one by one.
const inbox = (things) => {
  const all = things[Symbol.asyncIterator]()
  return async () => (await all.next()).value
}

async function trip(codec) {
  const reconnect = { min: 50, max: 400 }
  const portico = connect(url, { ...options, ...codec, reconnect })
  const tell = { back: () => {}, away: () => {} }
  portico.on("status", (e) => (e.status === "open" ? tell.back() : e.status === "reconnecting" && tell.away()))
  portico.on("error", (e) => say("error", e))
  await portico.opened
  say("open")

  // Publish, subscribe, filter, request.
  const live = portico.subscribe("trip.live.>")
  const red = portico.subscribe("trip.live.>", { filter: { all: [{ header: "Color", equal: "red" }] } })
  await Promise.all([live.ready, red.ready])
  const heard = inbox(live)
  const heardRed = inbox(red)
  await portico.publish("trip.live.a", "blue", { headers: { color: "blue" } })
  await portico.publish("trip.live.b", new Uint8Array([0, 128, 255]), { headers: { color: "red" } })
  say("heard", (await heard()).text(), (await heard()).bytes.join(","), (await heardRed()).subject)
  portico.serve("trip.double", (m) => {
    if (m.text() === "two") throw new Error("not a number")
    return 2 * Number(m.text())
  })
  say("answer", (await portico.request("trip.double", "21")).json())
  say("answer", (await portico.request("trip.double", "two")).header("Error"))

  // Work with acknowledgements, one delivery in hand when the gateway goes.
  const jobs = portico.queue("trip.jobs")
  say("made", await jobs.declare({ maxDeliveries: 10 }))
  await jobs.bind("trip.job.*")
  say("kept by", (await portico.publish("trip.job.1", "one", { id: "job-1" })).queues)
  await jobs.append("two")
  await jobs.append("three")
  const work = inbox(jobs.consume({ credit: 1, lease: 60_000 }))
  const one = await work()
  say(one.text(), one.attempt, one.redelivered)
  await one.nack()
  const again = await work()
  say(again.text(), again.attempt, again.redelivered)
  await again.ack()
  const two = await work()
  await two.extend(60_000)
  say("in hand", two.text())

  // A stream that is followed, a bucket that is watched.
  const seen = []
  const followed = portico.subscribe("trip.log.>", { stream: "triplog", from: "all", buffer: 4 })
  followed.on("resumed", (r) => say("recovered", r.recovered))
  followed.on("gap", (gap) => say("gap", gap.from, gap.to))
  const logged = inbox(followed)
  for (let n = 1; n <= 10; n++) await portico.publish("trip.log.a", `${n}`, { id: `log-${n}` })
  while (seen.length < 10) seen.push((await logged()).seq) // slower than it comes: the buffer is small
  const bucket = portico.kv("trip")
  const first = await bucket.put("a", "1")
  const watched = bucket.watch()
  await watched.current
  const changes = inbox(watched)
  say("value", (await changes()).text(), await portico.kv("none").get("a").catch((error) => error.code))

  const away = new Promise((resolve) => (tell.away = resolve))
  const back = new Promise((resolve) => (tell.back = resolve))
  say("restart me")
  await away
  say("away", portico.status)
  const late = [] // wait for the connection, and are sent again should it break once more
  for (let n = 11; n <= 13; n++) late.push(portico.publish("trip.log.b", `${n}`, { id: `log-${n}` }))
  await two.ack().catch((error) => say("ack", error.code))
  await back
  say("back", portico.status)
  say("late", (await Promise.all(late)).map((p) => p.seq).join(","))
  while (seen.length < 13) seen.push((await logged()).seq)
  say("seen", seen.join(","))
  await bucket.update("a", "2", first)
  say("changed", (await changes()).text())
  say("answer", (await portico.request("trip.double", "4", { timeout: 20_000 })).json())
  for (const word of ["two", "three"]) {
    const job = await work()
    say(job.text(), job.redelivered)
    await job.ack()
  }
  await portico.publish("trip.live.c", "still here")
  say("heard", (await heard()).text())
  await jobs.delete()
  await portico.close()
  say("closed", (await portico.publish("trip", "x").catch((error) => error)).code)
}

await trip(new URLSearchParams(globalThis.location?.search).has("cbor") || globalThis.process?.argv[3] === "cbor" ? { codec: cbor } : {})

//> open
//> heard blue 0,128,255 trip.live.b
//> answer 42
//> error Error: not a number
//> answer not a number
//> made true
//> kept by 1
//> one 1 false
//> one 2 true
//> in hand two
//> value 1 not-found
//> restart me
//> away reconnecting
//> ack connection-lost
//> back open
//> recovered true
//> late 11,12,13
//> seen 1,2,3,4,5,6,7,8,9,10,11,12,13
//> changed 2
//> answer 8
//> two true
//> three false
//> heard still here
//> closed closed
