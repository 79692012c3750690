// Package jslog keeps the logs of durable queues in JetStream: it implements [queue.Log] on one stream per queue of the embedded
// server, and makes "kept" mean "on disk" with one sync for many appends.
//
// # The stream
//
// A queue's log is one stream in the gateway's internal account: file storage, one replica, limits retention without limits, direct
// get, no consumer. Names may be any bytes, so the stream is called Q_ and 26 characters of the name's hash, and the name itself
// stands, percent-encoded, in the stream's metadata:
//
//	stream   Q_H7K…                     metadata portico.queue = the name, and the labels given to Open
//	subject  Q.H7K…
//	headers  Nats-Expected-Last-Sequence: <n>           the number predicted for the append before
//	         Nats-Msg-Id: <writer>.<n+1>                writer: 8 random characters for every Open; n+1 in base 36
//	         Nats-Expected-Last-Msg-Id: <writer>.<n>    only while the append before is unanswered
//	payload  the entry, as the queue made it
//
// # Append
//
// Appends are pipelined: sent one behind the other without waiting, each with the sequence number that its predecessor will have got.
// So the stream itself lets one writer in at a time: if somebody else has written, the number does not fit, nothing of ours is
// written any more, and this log answers [queue.ErrFenced] from then on. The number alone would not do: of several appends under way the first is refused, but
// the second expects the very number that the other's entry has got. So each also names the entry it follows, unless that is known to be ours.
// Answers come back in order to one constant subject per log and epoch, where one subscription of the store reads them all.
//
// When an append is refused, or not answered in time, or the connection breaks, everything under way on that log fails, in order: it
// may or may not be there. The epoch in the answer subject moves on, so late answers find nobody. Before the next append leaves, the
// log asks where the stream stands, with an append that cannot fit: its refusal names the last sequence number, and as it travels
// behind our own appends none of them can be under way any more. Whatever was added since our last answer must carry our writer's
// name, else somebody else wrote, and the log is fenced. Appends made meanwhile wait, up to a bound.
//
// The fence is the first append of a new owner, not its Open: an owner that takes over appends something before it reads.
//
// # Commit
//
// One replica answers when an entry has been written to the operating system. The store collects what was answered, syncs the
// disk once (syncfs on Linux, else fsync of the files that changed), and then calls the done functions; meanwhile the next
// batch gathers. There is no timer: alone, an append waits for one sync; in a crowd, a sync serves everybody. After a failed sync nobody
// knows what the disk has, and a second sync would report success: the store fails that batch and everything after it until
// the process starts again. With Options.Sync false, done is called from the answer.
//
// # Read and Trim
//
// Read asks for a batch by sequence number (direct get) on a connection of its own, because the server answers it inside the
// connection's read loop, where it would hold up appends. The batch's own bookkeeping (last sequence, end of batch) is checked, and the end of
// the log is not taken from "not found", which is also the answer for a block that cannot be read. (A record whose checksum is wrong the server drops: a gap.)
// Trim is remembered, coalesced and done in the background, by purge up to a floor and single deletes above it.
//
// Everything is bounded: 64 appends or 32 MiB under way per log, 1,024 appends waiting, 64 requests to the JetStream API (whose queue is dropped whole when it
// overflows), 8 trimming goroutines, 65,536 sequence numbers to delete per log, 32 MiB of reads under way. Beyond these appends are refused, trims forgotten, and reads wait.
package jslog
