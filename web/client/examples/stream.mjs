// A stream that is followed: what was there, what comes, and where to go on another day.
// The stream is made over HTTP: curl -X PUT -d '{"subjects":["sales.>"]}' http://127.0.0.1:8080/v1/streams/sales
import { connect } from "@portico/client"
import { url, options } from "./where.mjs"

const portico = connect(url, options)
for (const n of [1, 2, 3]) {
  const kept = await portico.publish("sales.new", `sale ${n}`, { id: `sale-${n}` })
  console.log("kept", kept.stream, kept.seq)
}
const again = await portico.publish("sales.new", "sale 3", { id: "sale-3" })
console.log("again", again.seq, again.duplicate)

const page = await portico.history({ stream: "sales", last: 2 })
console.log("history", page.messages.map((m) => m.text()).join(", "))

const sales = portico.subscribe("sales.>", { stream: "sales", from: "all", cursor: "report" })
sales.on("gap", (gap) => console.log("missing", gap.from, "to", gap.to))
for await (const m of sales) {
  console.log(m.seq, m.text())
  if (m.seq === 2) {
    await sales.commit()
    break
  }
}

const tomorrow = portico.subscribe("sales.>", { stream: "sales", cursor: "report" })
for await (const m of tomorrow) {
  console.log("tomorrow", m.seq, m.text())
  break
}
await portico.forgetCursor("sales", "report")
await portico.close()

//> kept sales 1
//> kept sales 2
//> kept sales 3
//> again 3 true
//> history sale 2, sale 3
//> 1 sale 1
//> 2 sale 2
//> tomorrow 3 sale 3
