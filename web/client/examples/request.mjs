// A service, a request to it, and one to nobody.
import { connect } from "@portico/client"
import { url, options } from "./where.mjs"

const portico = connect(url, options)
const service = portico.serve("math.double", (m) => `${2 * Number(m.text())}`)
await service.ready

const answer = await portico.request("math.double", "21", { timeout: 2000 })
console.log("answer", answer.text())

try {
  await portico.request("math.halve", "42")
} catch (error) {
  console.log("refused", error.code)
}
await service.stop()
await portico.close()

//> answer 42
//> refused no-responders
