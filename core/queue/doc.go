// Package queue is the queue engine: one settlement state machine for every protocol, kept by one actor per queue.
//
// A Queue is a single goroutine that owns order, the ready set, what is unacknowledged, credits, leases and counters.
// Everything else talks to it through one inbox that it empties in batches, so its answers are exact and in order.
//
// A record is a slice of bytes that the engine never looks into. What comes in is given a sequence number, is delivered at
// once from memory when a consumer has credit, and is packed with its neighbours into a chunk: one entry of the queue's Log.
// Settlements are gathered and written to the same log as bitmaps; chunks that are settled whole are removed. A queue
// without a log is a memory queue: the same actor, the same rules, nothing on disk.
//
// A stream (Config.Stream) is a queue whose records stay: each consumer has a place of its own, settlements only give credit back, and whole chunks go by size and
// age.
//
// The file format is written down in docs/queue-log.md.
package queue
