// Package proxy carries calls of gRPC methods that the gateway does not implement itself over the bus to whoever serves them, without knowing their messages.
//
// A call comes in at the gRPC door (entry.go), travels as messages on the subject grpc.<package.Service>.<Method> and goes out to a server (exit.go) that the
// gateway has dialled (backend.go) or that has dialled the gateway (relay.go, and the package adapters/grpc/relay on its side). A unary call is one request and
// one reply, which any client of the bus can send; everything else is a session of numbered frames with credit both ways (session.go).
// docs/grpc-proxy.md describes what is on the bus.
//
// Everything that waits is bounded: a session holds at most its window and one message each way, calls have a greatest number, and a call beyond it is
// refused with RESOURCE_EXHAUSTED.
package proxy
