package httpapi

import (
	"net/http"
	"time"

	"portico/core"
)

// Tags of the document.
const (
	tagMessages = "messages"
	tagQueues   = "queues"
	tagBindings = "bindings"
	tagSystem   = "operations"
)

// messageParams are the headers of a request whose body is a message.
func messageParams() []param {
	return []param{
		inHeader("Content-Type", "Travels with the message as it is", "", "application/json"),
		inHeader("Content-Encoding", "Travels with the message as it is: its bytes are not touched", "", nil),
		inHeader("Portico-Message-Id", "The message's id", "", "m-1"),
		inHeader("Portico-Correlation-Id", "What the message answers or belongs to", "", nil),
		inHeader("Portico-Type", "What kind of message it is", "", "order.created"),
		inHeader("Portico-App-Id", "The application that made it", "", nil),
		inHeader("Portico-User-Id", "Kept if it is the name of who is logged in", "", nil),
		inHeader("Portico-Reply-To", "Where AMQP clients send their answer", "", nil),
		inHeader("Portico-Timestamp", "Seconds since 1970", uint64(0), nil),
		inHeader("Portico-Expiration", "Milliseconds that it may wait in a queue", uint64(0), nil).within(0, maxExpiration),
		inHeader("Portico-Priority", "In queues with priorities the higher comes first", 0, nil).within(0, 255),
		inHeader("Portico-Delivery-Mode", "1: need not survive a restart; 2: must", "", nil).oneOf("1", "2"),
		inHeader("traceparent", "W3C trace context", "", nil),
	}
}

// maxExpiration is ten years in milliseconds, as core has it.
const maxExpiration = 315_360_000_000

// idempotencyKey is the header that makes a publish exactly-once.
func idempotencyKey() param {
	return inHeader(headerIdempotency, "What is published again under the same key within two minutes by the same user is kept once", "", "order-7").within(1, maxKey)
}

// publishOperations are those of messages without a place of their own.
func (a *Adapter) publishOperations() []operation {
	subject := inPath("subject", "Where the message goes: tokens between dots, no wildcards", "orders.new").of(formSubject)
	keeps := []core.Code{core.CodeTimeout, core.CodeResourceExhausted, core.CodePreconditionFailed}
	received := jsonOf(receipt{}, receipt{Queues: 1, Live: true})
	return []operation{
		{
			id: "publish", method: http.MethodPost, path: "/v1/publish/{subject}", tag: tagMessages, handle: a.publish,
			summary:     "Publish a message",
			description: "The body is the payload, of any type; headers travel as docs/http.md lists them, `Msg-Color: red` as the message's header `color`.",
			params: append([]param{subject, inQuery("reply", "Subject where an answer is expected", "", "orders.answers").of(formSubject), idempotencyKey()},
				messageParams()...),
			request: rawBody("The payload"),
			answers: map[int]answer{
				http.StatusOK:       {description: "At least one queue or stream keeps it", body: received},
				http.StatusAccepted: {description: "It was shown to whoever listened, and nothing keeps it", body: received},
			},
			fails: keeps,
		},
		{
			id: "publishBatch", method: http.MethodPost, path: "/v1/publish", tag: tagMessages, handle: a.publishBatch,
			summary:     "Publish many messages",
			description: "Up to 1,000, in the order given, each with a result of its own: one that is refused does not keep the others back.",
			params: []param{
				inQuery("atomic", "All or none: not implemented", false, nil),
				inHeader("Content-Encoding", "How the body is packed", "", nil).oneOf("identity", "gzip", "zstd"),
			},
			request: &content{types: []string{"application/json"}, value: []batchItem{}, example: exampleBatch(), text: "An array, or one JSON object in each line",
				also: []kind{{types: []string{"application/x-ndjson"}}}},
			answers: okJSON("What became of each, in order", batchResults{}, nil),
			fails:   []core.Code{core.CodeUnimplemented},
		},
		{
			id: "request", method: http.MethodPost, path: "/v1/request/{subject}", tag: tagMessages, handle: a.request,
			summary: "Ask and wait for the first answer",
			description: "The answer's payload is the body and its headers are the headers; with `Accept: application/vnd.portico.message+json` " +
				"it is the JSON form of a message.",
			params: append([]param{
				subject,
				inQuery("timeout", "How long to wait", time.Duration(0), "2s").within(int64(time.Millisecond), int64(maxWait)),
				inHeader("Prefer", "wait=N: how many seconds to wait (RFC 7240)", []string(nil), nil),
				inHeader("Accept", "The payload, or the JSON form of the message", []string(nil), nil),
			}, messageParams()...),
			request: rawBody("The payload"),
			answers: map[int]answer{http.StatusOK: {description: "The answer", body: messageBody()}},
			fails:   []core.Code{core.CodeNoResponders, core.CodeTimeout, core.CodeResourceExhausted},
		},
	}
}

// maxSubject is the longest subject, in bytes, as core has it.
const maxSubject = 4000

// messageBody is a message: raw, or as JSON.
func messageBody() *content {
	c := rawBody("The message's payload, of the message's content type")
	c.also = []kind{{types: []string{messageType}, value: event{}}}
	return c
}
