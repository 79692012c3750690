// Who is in a room, over the binary encoding.
import { connect } from "@portico/client"
import { cbor } from "@portico/client/cbor"
import { url, options } from "./where.mjs"

const ann = connect(url, { ...options, codec: cbor })
const bob = connect(url, { ...options, codec: cbor })

const room = ann.subscribe("room.1", { join: { name: "Ann" } })
await room.ready
const others = ann.watchPresence("room.1")
await others.current

const visit = bob.subscribe("room.1", { join: { name: "Bob" } })
await visit.ready
console.log("there", (await bob.presence("room.1")).members.map((m) => m.info.name).join(", "))
await bob.publish("room.1", new Uint8Array([0, 255]))
for await (const m of room) {
  console.log("bytes", m.bytes.join(" "))
  break
}
await bob.close()

for await (const e of others) {
  console.log(e.action, e.info.name)
  if (e.action === "leave" && e.info.name === "Bob") {
    break
  }
}
await ann.close()

//> there Ann, Bob
//> bytes 0 255
//> join Ann
//> join Bob
//> leave Ann
//> leave Bob
