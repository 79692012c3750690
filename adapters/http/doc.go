// Package httpapi is the HTTP door: publish, request, subscribe (server-sent events) and queues for everything that can
// speak HTTP, with curl in mind.
//
// A message is a raw body: its bytes are the payload, Content-Type and Content-Encoding travel as they are, and a header
// Msg-Color becomes the message's header "color". Where several messages share one body (subscribe, fetch) each is a JSON
// object. Whatever goes wrong is answered as application/problem+json (RFC 9457) with the gateway's own code.
//
//	adapter.go    listener, routes, serve and drain
//	operation.go  the one list of what can be done; operation_*.go its entries, operation_check.go what each request is held against
//	openapi.go    the OpenAPI document of that list; openapi_schema.go the schemas of Go types
//	session.go    who asks: Basic or anonymous, logged in once per connection
//	body.go       reading bodies: limit first, then memory, then bytes
//	headers.go    HTTP header <-> message header
//	publish.go    publish and request; batch.go many at once
//	negotiate.go  media types, packed commands; compress.go packed answers; cors.go pages of other origins; page.go lists in pages
//	subscribe.go  server-sent events
//	queues.go     declare, list, delete, purge, append, bindings
//	fetch.go      pull with a lease
//	settle.go     ack, nack, extend by token
//	token.go      sealed tokens
//	extension.go  what other doors add below /v1
//	errors.go     core.Code -> status, problem+json with the fields that are wrong
//
// Every route is documented with an example in docs/http.md.
package httpapi
