// Publish and subscribe. Ending the loop ends the subscription.
import { connect } from "@portico/client"
import { url, options } from "./where.mjs"

const portico = connect(url, options)
const orders = portico.subscribe("orders.>")
await orders.ready

const kept = await portico.publish("orders.eu.new", { item: 7 }, { headers: { color: ["red", "blue"] } })
console.log("published", kept.queues, kept.live)

for await (const m of orders) {
  console.log(m.subject, m.json().item, m.header("Color"), m.headers.color.join("+"))
  break
}
await portico.close()

//> published 0 true
//> orders.eu.new 7 red red+blue
