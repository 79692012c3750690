// What pages do with clients that know nothing of Portico, all on one port and told line by line. The line "restart me" asks for the gateway to be restarted; each client comes back by
// itself.

import { setTimeout as sleep } from "node:timers/promises"

import { wsconnect } from "@nats-io/nats-core"
import { Client } from "@stomp/stompjs"
import mqtt from "mqtt"
import WebSocket from "ws"

globalThis.WebSocket = WebSocket // which browsers have

const url = process.argv[2] // ws://host:port

const say = (...words) => console.log(words.join(" "))

// An inbox of things that come, to be waited for.
function inbox() {
  const items = [], waiting = []
  return {
    put: item => (waiting.length ? waiting.shift()(item) : items.push(item)),
    get: async (what) => {
      if (items.length) return items.shift()
      const late = sleep(30000, null, { ref: false }).then(() => { throw new Error(`nothing came: ${what}`) })
      return Promise.race([new Promise(resolve => waiting.push(resolve)), late])
    },
  }
}

async function startNATS() {
  const nc = await wsconnect({ servers: url, reconnectTimeWait: 100, maxReconnectAttempts: -1 })
  const got = inbox(), back = inbox()
  nc.subscribe("page.>", { callback: (err, m) => got.put(err ?? `${m.subject} ${m.string()}`) })
  nc.subscribe("double", { callback: (_, m) => m.respond(`${2 * Number(m.string())}`) })
  await nc.flush()
  ;(async () => { for await (const s of nc.status()) if (s.type === "reconnect") back.put(s.type) })()
  return { nc, got, back }
}

async function startSTOMP() {
  const got = inbox(), answers = inbox(), back = inbox(), receipts = inbox()
  const work = []
  const client = new Client({
    brokerURL: `${url}/ws`, connectHeaders: { login: "guest", passcode: "guest" }, reconnectDelay: 100, heartbeatIncoming: 1000, heartbeatOutgoing: 1000,
    onStompError: f => { if (f.headers.message !== "unavailable") throw new Error(`ERROR ${f.headers.message} ${f.body}`) },
  })
  client.onUnhandledMessage = m => answers.put(`${m.headers["correlation-id"]} ${m.body}`)
  client.onUnhandledReceipt = f => receipts.put(f.headers["receipt-id"])
  client.onConnect = () => {
    client.subscribe("/topic/page.#", m => got.put(`${m.headers.destination} ${m.body}`))
    client.subscribe("/queue/jobs", m => { work.push(m); got.put(`job ${m.body} ${m.headers.redelivered}`) }, { ack: "client-individual", "prefetch-count": "1" })
    client.watchForReceipt("ready", () => back.put("connected"))
    client.publish({ destination: "/topic/nobody", headers: { receipt: "ready" } })
  }
  client.activate()
  await back.get("STOMP connected")
  return { client, got, answers, back, receipts, work }
}

async function startMQTT() {
  const client = await mqtt.connectAsync(`${url}/mqtt`, { reconnectPeriod: 100, clientId: "page", clean: false })
  const got = inbox(), back = inbox()
  client.on("message", (topic, body) => got.put(`${topic} ${body}`))
  client.on("connect", () => back.put("connected"))
  await client.subscribeAsync("page/#", { qos: 1 })
  return { client, got, back }
}

const nats = await startNATS()
say("nats connected")
const stomp = await startSTOMP()
say("stomp connected", stomp.client.connectedVersion)
const web = await startMQTT()
say("mqtt connected")

// Everybody hears everybody.
async function hear(word) {
  const all = [nats.got, stomp.got, web.got]
  nats.nc.publish("page.nats", word)
  for (const x of all) say("heard", await x.get("from nats"))
  stomp.client.publish({ destination: "/topic/page.stomp", body: word })
  for (const x of all) say("heard", await x.get("from stomp"))
  await web.client.publishAsync("page/mqtt", word, { qos: 1 })
  for (const x of all) say("heard", await x.get("from mqtt"))
}
await hear("hello")

say("nats asks", (await nats.nc.request("double", "21")).string())
stomp.client.publish({ destination: "/topic/double", headers: { "reply-to": "/temp-queue/a", "correlation-id": "q1" }, body: "4" })
say("stomp asks", (await stomp.answers.get("the answer")).split(" ")[1])

// Work with acknowledgements: one refused, one done, one in hand when the gateway goes.
for (const job of ["a", "b"]) {
  stomp.client.publish({ destination: "/queue/jobs", headers: { persistent: "true", receipt: job }, body: job })
  say("kept", await stomp.receipts.get("receipt"))
}
say(await stomp.got.get("a"))
stomp.work.pop().nack()
say(await stomp.got.get("a again"))
stomp.work.pop().ack({ receipt: "a" })
say("done", await stomp.receipts.get("receipt"))
say(await stomp.got.get("b"))

say("restart me")
await Promise.all([nats.back.get("nats back"), stomp.back.get("stomp back"), web.back.get("mqtt back")])
say("all are back")
say(await stomp.got.get("b again"))
stomp.work.pop().ack({ receipt: "b" })
say("done", await stomp.receipts.get("receipt"))
await nats.nc.flush()
await hear("again")

await nats.nc.close()
await stomp.client.deactivate()
await web.client.endAsync()
say("done")

//> nats connected
//> stomp connected 1.2
//> mqtt connected
//> heard page.nats hello
//> heard /topic/page.nats hello
//> heard page/nats hello
//> heard page.stomp hello
//> heard /topic/page.stomp hello
//> heard page/stomp hello
//> heard page.mqtt hello
//> heard /topic/page.mqtt hello
//> heard page/mqtt hello
//> nats asks 42
//> stomp asks 8
//> kept a
//> kept b
//> job a false
//> job a true
//> done a
//> job b false
//> restart me
//> all are back
//> job b true
//> done b
//> heard page.nats again
//> heard /topic/page.nats again
//> heard page/nats again
//> heard page.stomp again
//> heard /topic/page.stomp again
//> heard page/stomp again
//> heard page.mqtt again
//> heard /topic/page.mqtt again
//> heard page/mqtt again
//> done
