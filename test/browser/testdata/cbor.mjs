// The binary encoding by itself: what is written is read as it was, and what is broken is refused, however it is broken.
import { cbor } from "@portico/client/cbor"

const say = (...words) => console.log(words.join(" "))
const read = (bytes) => cbor.decode(new Uint8Array(bytes).buffer)
const refused = (bytes) => {
  try {
    read(bytes)
    return false
  } catch (error) {
    return error instanceof Error
  }
}

const values = [0, 23, 24, 255, 256, 65535, 65536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER, -1, -24, -25, -256, -(2 ** 33), 0.5, -1.25e300, true, false, null, "", "ü€😀", "x".repeat(70000), [], [1, [2, [3]]], {}, { a: { b: [] } }]
const frame = { op: "x", values, bytes: new Uint8Array([0, 255]), left: undefined }
const wire = cbor.encode(frame)
const back = read(wire)
say("values", JSON.stringify(back.values) === JSON.stringify(values), [...back.bytes], "left" in back)
say("text as bytes", [...read(cbor.encode({ op: "x", data: "é" })).data])
say("joined", read(cbor.join([cbor.encode({ op: "a" }), cbor.encode({ op: "b" })])).map((f) => f.op))
say("floats", read([0x84, 0xf9, 0x3e, 0x00, 0xf9, 0x7c, 0x00, 0xf9, 0x00, 0x01, 0xfa, 0x3f, 0x80, 0, 0]))

const small = cbor.encode({ op: "pub", subject: "a.b", list: [1, "two", { n: 300 }], data: "hello" })
let cut = 0
for (let n = 0; n < small.length; n++) cut += refused(small.slice(0, n))
say("cut short", cut === small.length, "longer", refused([...small, 0]))
say("deep", refused(Array(40).fill(0x81).concat(0)), refused(Array(100_000).fill(0x81)), refused(Array(100_000).fill(0xc1)), "endless", refused([0x9f, 0xff]))
say("huge", refused([0x5b, 0, 0, 0xff, 0, 0, 0, 0, 0]), refused([0x9a, 0xff, 0xff, 0xff, 0xff]), refused([0xbb, 0, 1, 0, 0, 0, 0, 0, 0]), "not UTF-8", refused([0x61, 0xff]))
say("prototype", {}.polluted ?? "whole", Object.getPrototypeOf(read(cbor.encode(JSON.parse('{"op":"x","__proto__":{"polluted":1}}')))) === Object.prototype)

let seed = 1
const random = (n) => (seed = (seed * 48271) % 2147483647) % n
let ended = 0
for (let i = 0; i < 20_000; i++) {
  const broken = small.slice()
  for (let j = random(4); j >= 0; j--) broken[random(broken.length)] = random(256)
  refused(broken)
  ended++
}
say("broken at random", ended)

//> values true 0,255 false
//> text as bytes 195,169
//> joined a,b
//> floats 1.5,Infinity,5.960464477539063e-8,1
//> cut short true longer true
//> deep true true true endless true
//> huge true true true not UTF-8 true
//> prototype whole true
//> broken at random 20000
