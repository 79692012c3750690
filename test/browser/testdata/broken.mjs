// A stream that is written and followed over connections that break all the time, at any byte. Every message arrives once and in order, and is stored once.
import { connect } from "@portico/client"
import { url, options } from "./where.mjs"

const most = 2000
const reconnect = { min: 5, max: 20 }
const writer = connect(url, { ...options, reconnect, timeout: 60_000 })
const reader = connect(url, { ...options, reconnect, timeout: 60_000 })
let broken = 0
for (const c of [writer, reader]) c.on("status", (e) => e.status === "reconnecting" && broken++)

const followed = reader.subscribe("broken.>", { stream: "broken", from: "all", buffer: 64 })
let gaps = 0
followed.on("gap", () => gaps++)
const written = (async () => {
  const kept = new Set()
  for (let n = 1; n <= most; n += 50) {
    const group = Array.from({ length: 50 }, (_, i) => writer.publish("broken.a", `${n + i} ${"x".repeat(200)}`, { id: `broken-${n + i}` }))
    for (const { seq } of await Promise.all(group)) kept.add(seq)
  }
  return kept.size
})()

let next = 1
let ordered = true
const texts = new Set()
for await (const m of followed) {
  ordered &&= m.seq === next++
  texts.add(m.text())
  if (m.seq === most) break
}
console.log("stored", await written)
console.log("seen", texts.size, ordered, "gaps", gaps)
console.log("broken", broken >= 5)
await writer.close()
await reader.close()

//> stored 2000
//> seen 2000 true gaps 0
//> broken true
