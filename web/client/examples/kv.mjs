// Values under keys, changed by those who know the present revision, and watched.
// The bucket is made over HTTP: curl -X PUT -d '{}' http://127.0.0.1:8080/v1/kv/settings
import { connect } from "@portico/client"
import { url, options } from "./where.mjs"

const portico = connect(url, options)
const settings = portico.kv("settings")
const first = await settings.create("ui.theme", "dark")
await settings.update("ui.theme", "light", first)
try {
  await settings.update("ui.theme", "dark", first)
} catch (error) {
  console.log("refused", error.code, "it is", error.revision)
}
console.log("is", (await settings.get("ui.theme")).text(), (await settings.get("ui.font")) ?? "not there")

const changes = settings.watch("ui.>")
await changes.current
await settings.put("ui.size", { px: 14 })
await settings.delete("ui.theme")
let left = 3
for await (const e of changes) {
  console.log(e.operation, e.key, e.text())
  if (--left === 0) {
    break
  }
}
for await (const key of settings.keys()) {
  console.log("key", key)
}
await portico.close()

//> refused precondition-failed it is 2
//> is light not there
//> put ui.theme light
//> put ui.size {"px":14}
//> delete ui.theme 
//> key ui.size
