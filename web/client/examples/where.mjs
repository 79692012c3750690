// Where the gateway is, and how Node.js 20 gets a WebSocket: `npm install ws`. Browsers and newer versions have one.
const page = new URLSearchParams(globalThis.location?.search)

export const url = page.get("url") ?? globalThis.process?.argv[2] ?? "ws://127.0.0.1:8080/ws"
export const options = globalThis.WebSocket ? {} : { WebSocket: (await import("ws")).WebSocket }
