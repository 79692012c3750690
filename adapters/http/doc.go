// Package httpapi is the HTTP door: publish, request, subscribe (server-sent events) and queues for everything that can
// speak HTTP, with curl in mind.
//
// A message is a raw body: its bytes are the payload, Content-Type and Content-Encoding travel as they are, and a header
// Msg-Color becomes the message's header "color". Where several messages share one body (subscribe, fetch) each is a JSON
// object. Whatever goes wrong is answered as application/problem+json (RFC 9457) with the gateway's own code.
//
//	adapter.go    listener, the one list of routes, serve and drain
//	session.go    who asks: Basic or anonymous, logged in once per connection
//	body.go       reading bodies: limit first, then memory, then bytes
//	headers.go    HTTP header <-> message header
//	publish.go    publish and request
//	subscribe.go  server-sent events
//	queues.go     declare, list, delete, purge, append, bindings
//	fetch.go      pull with a lease
//	settle.go     ack, nack, extend by token
//	token.go      sealed tokens
//	extension.go  what other doors add below /v1
//	errors.go     core.Code -> status, problem+json
//
// Every route is documented with an example in docs/http.md.
package httpapi
