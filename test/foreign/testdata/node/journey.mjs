// What an application does with amqplib, told line by line. The line "cut me" asks for the connection to be cut; the journey goes on afterwards.

import assert from "node:assert/strict"
import { setTimeout as sleep } from "node:timers/promises"

import amqp from "amqplib"

const url = process.argv[2]
const persistent = { persistent: true }

const say = (...words) => console.log(words.join(" "))

const ready = async (channel, queue) => (await channel.checkQueue(queue)).messageCount

// Asks again until there is an answer.
async function until(ask, seconds = 20) {
  for (const deadline = Date.now() + seconds * 1000; ; await sleep(20)) {
    const answer = await ask()
    if (answer) return answer
    if (Date.now() > deadline) throw new Error("nothing came")
  }
}

const get = (channel, queue, options) => until(() => channel.get(queue, options))

// Channels report their errors as events too, and an event nobody hears ends the program.
async function open(connection, kind = "createChannel") {
  const channel = await connection[kind]()
  channel.on("error", () => {})
  return channel
}

async function confirms(channel) {
  await channel.assertQueue("journey", { durable: true })
  for (let i = 0; i < 100; i++) channel.sendToQueue("journey", Buffer.from(`${i}`), persistent)
  await channel.waitForConfirms()
  say("confirmed", await ready(channel, "journey"))
}

async function returns(channel) {
  const order = []
  channel.once("return", (message) => order.push(message))
  await new Promise((done) => channel.publish("", "nobody.home", Buffer.from(""), { mandatory: true }, done))
  const { replyCode, replyText, routingKey } = order[0].fields // it was there before the confirm
  say("returned", replyCode, replyText, routingKey)
}

async function prefetch(connection) {
  const channel = await open(connection)
  const got = []
  await channel.prefetch(5)
  const { consumerTag } = await channel.consume("journey", (message) => got.push(message))
  await until(() => got.length === 5)
  say("prefetch", got.length, "ready", await ready(channel, "journey"))
  for (let before = 0; got.length < 100; await until(() => got.length > before)) {
    before = got.length
    channel.ack(got.at(-1), true)
  }
  channel.ackAll()
  await channel.cancel(consumerTag)
  const inOrder = got.every((message, i) => message.content.toString() === `${i}`)
  say(inOrder ? "in order" : "out of order", "ready", await ready(channel, "journey"))
  await channel.close()
}

async function redelivery(channel) {
  channel.sendToQueue("journey", Buffer.from("once more"))
  const first = await get(channel, "journey")
  channel.nack(first)
  const second = await get(channel, "journey")
  channel.ack(second)
  say("redelivered", first.fields.redelivered, second.fields.redelivered)
}

async function exclusive(connection) {
  const channel = await open(connection)
  const { queue } = await channel.assertQueue("", { exclusive: true })
  const other = await amqp.connect(url)
  await assert.rejects((await open(other)).checkQueue(queue), (e) => {
    say("locked", e.code)
    return true
  })
  await channel.close()
  await other.close()
}

async function refusal(channel) {
  await channel.assertQueue("journey.small", { durable: false, arguments: { "x-max-length": 1, "x-overflow": "reject-publish" } })
  const publish = (body) => new Promise((done) => channel.sendToQueue("journey.small", Buffer.from(body), {}, (e) => done(e ? "nacked" : "acked")))
  assert.equal(await publish("kept"), "acked")
  say(await publish("refused"))
}

// Takes a dead letter, checks that its headers agree with each other, and tells of its last death.
async function death(channel, queue) {
  const message = await get(channel, queue, { noAck: true })
  const headers = message.properties.headers
  const last = headers["x-death"][0]
  assert.equal(last.time["!"], "timestamp")
  assert.ok(last.time.value > Date.now() / 1000 - 600)
  assert.equal(message.properties.expiration, undefined)
  const how = `${message.content}: ${last.reason} in ${last.queue} from '${last.exchange}' by ${last["routing-keys"]} ${last.count} times`
  return last["original-expiration"] ? `${how} expiration ${last["original-expiration"]}` : how
}

async function deadLetters(channel) {
  await channel.assertExchange("journey.dlx", "fanout", { durable: false })
  await channel.assertQueue("journey.dead", { durable: false })
  await channel.bindQueue("journey.dead", "journey.dlx", "")
  await channel.assertQueue("journey.work", { durable: false, deadLetterExchange: "journey.dlx", maxLength: 2 })
  channel.sendToQueue("journey.work", Buffer.from("bad"))
  channel.reject(await get(channel, "journey.work"), false)
  say("dead", await death(channel, "journey.dead"))
  channel.sendToQueue("journey.work", Buffer.from("late"), { expiration: 50 })
  say("dead", await death(channel, "journey.dead"))
  for (const body of ["one", "two", "three"]) channel.sendToQueue("journey.work", Buffer.from(body))
  say("dead", await death(channel, "journey.dead"))
}

// A failed message waits in a queue of its own before it comes back: the usual way to try again later.
async function retries(channel) {
  await channel.assertQueue("journey.wait", { durable: false, messageTtl: 20, deadLetterExchange: "", deadLetterRoutingKey: "journey.try" })
  await channel.assertQueue("journey.try", { durable: false, deadLetterExchange: "", deadLetterRoutingKey: "journey.wait" })
  channel.sendToQueue("journey.try", Buffer.from("flaky"))
  for (let i = 0; i < 3; i++) channel.nack(await get(channel, "journey.try"), false, false)
  const { properties } = await get(channel, "journey.try", { noAck: true })
  say("retried", properties.headers["x-death"].map((d) => `${d.queue} ${d.reason} ${d.count}`).join(" "))
}

async function poison(channel) {
  const args = { "x-queue-type": "quorum", "x-delivery-limit": 2 }
  await channel.assertQueue("journey.quorum", { durable: true, deadLetterExchange: "journey.dlx", arguments: args })
  await channel.purgeQueue("journey.dead")
  channel.sendToQueue("journey.quorum", Buffer.from("poison"))
  const counts = []
  for (let i = 0; i < 3; i++) {
    const message = await get(channel, "journey.quorum")
    counts.push(message.properties.headers?.["x-delivery-count"] ?? 0)
    channel.nack(message)
  }
  say("delivery counts", ...counts)
  say("dead", await death(channel, "journey.dead"))
}

// Loses the connection with 10 of 20 messages acknowledged, and finds the others after coming back.
async function cut(connection, channel) {
  for (let i = 0; i < 20; i++) channel.sendToQueue("journey", Buffer.from(`${i}`), persistent)
  await channel.waitForConfirms()
  for (let i = 0; i < 10; i++) channel.ack(await get(channel, "journey"))
  await channel.get("journey")
  await ready(channel, "journey") // the acknowledgements have arrived when this is answered
  const closed = new Promise((done) => connection.once("close", done))
  say("cut me")
  await closed
  connection = await until(() => amqp.connect(url).catch(() => null))
  channel = await open(connection)
  const found = []
  for (let i = 0; i < 10; i++) found.push(await get(channel, "journey", { noAck: true }))
  say("recovered", ...found.map((m) => m.content), "redelivered", found[0].fields.redelivered, "ready", await ready(channel, "journey"))
  return connection
}

let connection = await amqp.connect(url)
connection.on("error", () => {})
const channel = await open(connection, "createConfirmChannel")
await confirms(channel)
await returns(channel)
await prefetch(connection)
await redelivery(channel)
await exclusive(connection)
await refusal(channel)
await deadLetters(channel)
await retries(channel)
await poison(channel)
connection = await cut(connection, channel)
await connection.close()
say("done")
