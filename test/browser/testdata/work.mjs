// Work that clients of others do over the one port, through a gateway that is killed: nats.js with JetStream's acknowledgements, mqtt.js with a session that keeps what it missed.
import { wsconnect } from "@nats-io/nats-core"
import { jetstream, jetstreamManager } from "@nats-io/jetstream"
import mqtt from "mqtt"
import WebSocket from "ws"

globalThis.WebSocket = WebSocket // which browsers have

const url = process.argv[2] // ws://host:port
const say = (...words) => console.log(words.join(" "))

const nc = await wsconnect({ servers: url, reconnectTimeWait: 100, maxReconnectAttempts: -1 })
const back = (async () => { for await (const s of nc.status()) if (s.type === "reconnect") return })()
const manager = await jetstreamManager(nc)
await manager.streams.add({ name: "work", subjects: ["work.>"], retention: "workqueue" })
await manager.consumers.add("work", { durable_name: "workers", ack_policy: "explicit", ack_wait: 2_000_000_000 })
const js = jetstream(nc)
for (const job of ["one", "two"]) say("kept", (await js.publish(`work.${job}`, job, { msgID: job })).seq)
say("again", (await js.publish("work.one", "one", { msgID: "one" })).duplicate)
const workers = await js.consumers.get("work", "workers")
const next = async () => {
  for (;;) {
    const m = await workers.next({ expires: 2000 }).catch(() => null) // a pull that was under way when the gateway went has no answer
    if (m) return m
  }
}
let job = await next()
say(job.string(), job.info.deliveryCount)
job.nak()
job = await next()
while (job.string() !== "one") { job.nak(); job = await next() }
say(job.string(), job.redelivered)
say("acknowledged", await job.ackAck())
job = await next()
say("in hand", job.string())

const session = { clientId: "keeps", clean: false, reconnectPeriod: 100 }
const writer = await mqtt.connectAsync(`${url}/mqtt`, { reconnectPeriod: 100, clientId: "writes" })
const reader = await mqtt.connectAsync(`${url}/mqtt`, session)
await reader.subscribeAsync("kept/#", { qos: 1 })
await reader.endAsync() // away
await writer.publishAsync("kept/a", "while away", { qos: 1 })
const writes = new Promise((resolve) => writer.once("connect", resolve))

say("restart me")
await Promise.all([back, writes])
say("both are back")
job = await next() // what the server had written of the consumer when it was killed is not known: neither whether it says that this one came before,
while (job.string() !== "two") { await job.ackAck(); job = await next() } // nor whether what was acknowledged last comes once more
say(job.string())
say("acknowledged", await job.ackAck())
say("left", (await manager.streams.info("work")).state.messages)
const heard = new Promise((resolve) => {
  const again = mqtt.connect(`${url}/mqtt`, session)
  again.once("message", (topic, body) => again.end(false, {}, () => resolve(`${topic} ${body}`)))
})
say("heard", await heard)
await writer.publishAsync("kept/b", "still here", { qos: 1 })
await writer.endAsync()
await nc.close()
say("done")

//> kept 1
//> kept 2
//> again true
//> one 1
//> one true
//> acknowledged true
//> in hand two
//> restart me
//> both are back
//> two
//> acknowledged true
//> left 0
//> heard kept/a while away
//> done
