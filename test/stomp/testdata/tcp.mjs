// What a server program does with stompit over TCP, told line by line.

import stompit from "stompit"

const [host, port] = process.argv[2].split(":")
const say = (...words) => console.log(words.join(" "))

// promise makes one of a function whose last argument is a callback.
const promise = f => new Promise((resolve, reject) => f((error, value) => (error ? reject(error) : resolve(value))))

const client = await promise(done => stompit.connect({ host, port: Number(port), connectHeaders: { host: "/", login: "guest", passcode: "guest", "heart-beat": "2000,2000" } }, done))
say("connected")

for (const job of ["one", "two"]) {
  await promise(done => {
    const frame = client.send({ destination: "/queue/tcp", persistent: "true", kind: "a:b" }, { onReceipt: () => done() })
    frame.end(job)
  })
  say("kept", job)
}

// One after the other; the second is refused once.
const seen = []
await promise(done => {
  client.subscribe({ destination: "/queue/tcp", ack: "client-individual", "prefetch-count": "1" }, (error, message) => {
    if (error) return done(error)
    message.readString("utf-8", (error, body) => {
      if (error) return done(error)
      say("got", body, message.headers.kind, message.headers.redelivered)
      seen.push(body)
      if (seen.length === 2) client.nack(message)
      else client.ack(message)
      if (seen.length === 3) done()
    })
  })
})
await promise(done => client.disconnect(done))
say("done")
