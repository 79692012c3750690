// Work that is acknowledged: one job is done at the second try, one can never be done.
import { connect } from "@portico/client"
import { url, options } from "./where.mjs"

const portico = connect(url, options)
const dead = portico.queue("jobs.dead")
const jobs = portico.queue("jobs")
await dead.declare()
await jobs.declare({ deadLetter: { queue: "jobs.dead" } })
await jobs.append("dig", { id: "job-1" })
await jobs.append("fly", { id: "job-2" })

let left = 2
for await (const job of jobs.consume({ credit: 1, lease: 30_000 })) {
  console.log("job", job.text(), job.attempt)
  if (job.text() === "fly") {
    await job.deadLetter()
  } else if (job.attempt === 1) {
    await job.nack()
    continue
  } else {
    await job.ack()
  }
  if (--left === 0) {
    break
  }
}

for await (const job of dead.consume({ autoAck: true })) {
  console.log("dead", job.text(), job.header("Portico-Death-Reason"))
  await job.ack()
  break
}
await jobs.delete()
await dead.delete()
await portico.close()

//> job dig 1
//> job dig 2
//> job fly 1
//> dead fly rejected
