// Package inbound decides whether a webhook that came in is genuine, and what it is about: its delivery id and its type. It is pure: no sockets, no
// clock, no state.
//
// A webhook is checked in two steps, so that a body is read only for those who can have signed it:
//
//	Screen   what the headers alone show: credentials, that there is a signature, that its time is not stale
//	Verify   all of it, over the body's bytes as they came, before anything parses them
//
// The schemes are the providers' own; Standard Webhooks is checked by that project's library. Secrets may be several, while one is replaced by the next:
// any of them will do.
package inbound
