package httpapi

import (
	"net/http"
	"time"

	"portico/core"
)

// Tags of the document.
const (
	tagStreams   = "streams"
	tagConsumers = "consumers"
)

// maxPosition is the highest sequence number or revision that a parameter may have: JSON clients know whole numbers up to here.
const maxPosition = 1 << 53

func streamName() param {
	return inPath("stream", "The stream's name, percent-encoded", "orders").within(1, maxName)
}

// ifMatch and ifNoneMatch are the conditions of a request.
func ifMatch(description string) param {
	return inHeader("If-Match", description, []string(nil), nil)
}

func ifNoneMatch(description string) param {
	return inHeader("If-None-Match", description, []string(nil), nil)
}

// configConditions are those of a PUT that creates or changes a configuration.
func configConditions() []param {
	return []param{
		ifMatch("Only if its configuration has this entity tag; `*`: only if it is there"), ifNoneMatch("`*`: only if it is not there"), jsonEncoding(),
	}
}

// ifUnchanged gives the DELETE of something with a configuration its condition.
func ifUnchanged(o operation) operation {
	o.params = append(o.params, ifMatch("Only if its configuration has this entity tag"), ifNoneMatch("Only if it has none of these"))
	o.refuses = []int{http.StatusPreconditionFailed}
	return o
}

// tagged are the headers of an answer about something with a configuration.
func tagged() []param {
	return []param{inHeader("ETag", "Of the configuration, for If-Match", "", `"5f8ed1ef6e4f2c01a5d4f0c3"`)}
}

// ensured are the answers of a PUT.
func ensured(body *content, there string) map[int]answer {
	return map[int]answer{
		http.StatusCreated: {description: "It was created", headers: tagged(), body: body},
		http.StatusOK:      {description: there, headers: tagged(), body: body},
	}
}

// streamOperations are those of streams, their messages and consumers.
func (a *Adapter) streamOperations() []operation {
	return append(append(a.streamConfigOperations(), a.streamMessageOperations()...), append(a.consumerConfigOperations(), a.lentOperations()...)...)
}

func (a *Adapter) streamConfigOperations() []operation {
	shown := jsonOf(streamShown{}, nil)
	gone := []core.Code{core.CodeNotFound, core.CodeTimeout}
	return []operation{
		{
			id: "listStreams", method: http.MethodGet, path: "/v1/streams", tag: tagStreams, handle: a.listStreams,
			summary: "List streams", description: "By name. Those that belong to key-value buckets and objects are not among them.",
			params: pageParams(), answers: pageAnswer(streamList{}), fails: []core.Code{core.CodeTimeout},
		},
		{
			id: "putStream", method: http.MethodPut, path: "/v1/streams/{stream}", tag: tagStreams, handle: a.putStream,
			summary:     "Create or change a stream",
			description: "What is left out has its default, not what it was. The `config` of a GET may be put back, with its entity tag in If-Match so that no other change is lost.",
			params:      append([]param{streamName()}, configConditions()...), request: jsonOf(streamConfig{}, map[string]any{"subjects": []string{"orders.>"}, "max_age": 604800000, "max_bytes": 1 << 30}),
			answers: ensured(shown, "It was there, and has these properties now"), refuses: []int{http.StatusPreconditionFailed},
			fails: []core.Code{core.CodeNotFound, core.CodePreconditionFailed, core.CodeResourceExhausted, core.CodeTimeout, core.CodeUnimplemented},
		},
		{
			id: "getStream", method: http.MethodGet, path: "/v1/streams/{stream}", tag: tagStreams, handle: a.getStream,
			summary: "Describe a stream", params: []param{streamName()},
			answers: map[int]answer{http.StatusOK: {description: "The stream", headers: tagged(), body: shown}}, fails: gone,
		},
		ifUnchanged(operation{
			id: "deleteStream", method: http.MethodDelete, path: "/v1/streams/{stream}", tag: tagStreams, handle: a.deleteStream,
			summary: "Delete a stream", description: "With everything in it, and its consumers.", params: []param{streamName()},
			answers: noContent("It is gone"), fails: gone,
		}),
		{
			id: "purgeStream", method: http.MethodPost, path: "/v1/streams/{stream}/purge", tag: tagStreams, handle: a.purgeStream,
			summary: "Remove messages", description: "All of them, or those that the body names.", params: []param{streamName(), jsonEncoding()},
			request: jsonOf(purgeRequest{}, purgeRequest{Subject: "orders.old.>"}), answers: okJSON("They are gone", purgedMessages{}, purgedMessages{12}), fails: gone,
		},
	}
}

// placeParams say where reading begins, and what is read.
func placeParams(from string) []param {
	return []param{
		inQuery("from", from, uint64(0), 1).within(1, maxPosition),
		inQuery("since", "Begin with the first message stored then or later: a time, or a duration that means so long ago", "", "10m").within(1, 64),
		inQuery("subject", "Only messages that match one of these patterns, up to 64", []string(nil), "orders.new").of(formPattern),
	}
}

// placeHeaders tell of a raw message where it is.
func placeHeaders() []param {
	return []param{
		inHeader("Portico-Sequence", "Of a raw message: its place in the stream", uint64(0), nil),
		inHeader("Portico-Time", "Of a raw message: when it was stored", "", nil),
		inHeader("Portico-Subject", "Of a raw message: its subject", "", nil),
	}
}

func acceptHeader() param {
	return inHeader("Accept", "How messages are told", []string(nil), nil)
}

func (a *Adapter) streamMessageOperations() []operation {
	gone := []core.Code{core.CodeNotFound, core.CodeTimeout}
	storedExample := map[string]any{"sequence": 7, "time": "2026-07-01T12:00:00Z", "subject": "orders.new", "data": `{"item":7}`}
	sequence := inPath("sequence", "The message's place in the stream", "7").within(1, maxPosition)
	sequence.value, sequence.example = uint64(0), 7
	return []operation{
		{
			id: "readMessages", method: http.MethodGet, path: "/v1/streams/{stream}/messages", tag: tagStreams, handle: a.readMessages,
			summary: "Read messages",
			description: "In order, without a consumer and without waiting; about 4 MiB at most, so that only an empty answer says that there is no more now. `next` is the `from` of the read that goes on. With `Accept: application/x-ndjson` one " +
				"message a line, `next` in the header Portico-Next. `last_for` is the newest message of one subject alone, raw with `Accept: application/octet-stream`.",
			params: append(append([]param{streamName()}, placeParams("The first sequence number; the oldest message by default")...),
				inQuery("limit", "How many at most; 100 by default", 0, 50).within(1, maxRead),
				inQuery("last_for", "A subject: its newest message; not with the others", "", "orders.new").of(formSubject), acceptHeader()),
			answers: map[int]answer{http.StatusOK: {
				description: "What there was", headers: append(placeHeaders(), inHeader("Portico-Next", "Of NDJSON: where to go on", uint64(0), nil)),
				body: &content{types: []string{"application/json"}, value: storedList{}, example: map[string]any{"messages": []any{storedExample}, "next": 8},
					also: []kind{{types: []string{"application/x-ndjson"}}, {types: []string{"*/*"}}}},
			}}, fails: gone,
		},
		{
			id: "getMessage", method: http.MethodGet, path: "/v1/streams/{stream}/messages/{sequence}", tag: tagStreams, handle: a.getMessage,
			summary: "Read one message", description: "As JSON, or with `Accept: application/octet-stream` its payload as the body and its headers as headers.",
			params: []param{streamName(), sequence, acceptHeader()},
			answers: map[int]answer{http.StatusOK: {description: "The message", headers: placeHeaders(), body: &content{
				types: []string{"application/json"}, value: stored{}, example: storedExample, also: []kind{{types: []string{"*/*"}}},
			}}}, fails: gone,
		},
		{
			id: "deleteMessage", method: http.MethodDelete, path: "/v1/streams/{stream}/messages/{sequence}", tag: tagStreams, handle: a.deleteMessage,
			summary: "Remove one message", params: []param{streamName(), sequence}, answers: noContent("It is gone"), fails: gone,
		},
		{
			id: "followStream", method: http.MethodGet, path: "/v1/streams/{stream}/follow", tag: tagStreams, handle: a.follow,
			summary: "Follow a stream",
			description: "Server-sent events, or NDJSON if that is accepted: each `message` once and in order, its id the sequence number. Who comes back with Last-Event-ID misses nothing; what the stream " +
				"itself has lost meanwhile is told as `gap`. The last event before the gateway hangs up is `error`, with a problem.",
			params:  append(append([]param{streamName()}, placeParams("The first sequence number; what comes from now on by default")...), lastEvent(), acceptHeader()),
			answers: map[int]answer{http.StatusOK: eventAnswer()}, fails: append([]core.Code{core.CodeResourceExhausted}, gone...),
		},
	}
}

func lastEvent() param {
	return inHeader("Last-Event-ID", "Id of the last event that was seen; it comes before the query", "", "7").within(1, 20)
}

func eventAnswer() answer {
	return answer{description: "The stream of events", body: &content{
		types: []string{"text/event-stream"}, text: "Server-sent events", also: []kind{{types: []string{"application/x-ndjson"}}},
	}}
}

func consumerParams() []param {
	return []param{streamName(), inPath("consumer", "The consumer's name, percent-encoded", "billing").within(1, maxName)}
}

func (a *Adapter) consumerConfigOperations() []operation {
	shown := jsonOf(consumerShown{}, nil)
	const at = "/v1/streams/{stream}/consumers/{consumer}"
	gone := []core.Code{core.CodeNotFound, core.CodeTimeout}
	described := map[int]answer{http.StatusOK: {description: "The consumer", headers: tagged(), body: shown}}
	return []operation{
		{
			id: "listConsumers", method: http.MethodGet, path: "/v1/streams/{stream}/consumers", tag: tagConsumers, handle: a.listConsumers,
			summary: "List a stream's consumers", params: append([]param{streamName()}, pageParams()...), answers: pageAnswer(consumerList{}), fails: gone,
		},
		{
			id: "putConsumer", method: http.MethodPut, path: at, tag: tagConsumers, handle: a.putConsumer,
			summary: "Create a consumer", description: "A place in the stream that is kept, with what was fetched and is not settled. One that is there with other properties is not changed: 409.",
			params: append(consumerParams(), configConditions()...), request: jsonOf(consumerConfig{}, map[string]any{"subjects": []string{"orders.new"}, "ack_wait": 60000}),
			answers: ensured(shown, "It was there with the same properties"), refuses: []int{http.StatusPreconditionFailed},
			fails: append([]core.Code{core.CodePreconditionFailed, core.CodeResourceExhausted, core.CodeUnimplemented}, gone...),
		},
		{
			id: "getConsumer", method: http.MethodGet, path: at, tag: tagConsumers, handle: a.getConsumer,
			summary: "Describe a consumer", params: consumerParams(), answers: described, fails: gone,
		},
		ifUnchanged(operation{
			id: "deleteConsumer", method: http.MethodDelete, path: at, tag: tagConsumers, handle: a.deleteConsumer,
			summary: "Delete a consumer", params: consumerParams(), answers: noContent("It is gone"), fails: gone,
		}),
		{
			id: "pauseConsumer", method: http.MethodPost, path: at + "/pause", tag: tagConsumers, handle: a.pauseConsumer,
			summary: "Stop deliveries for a while", params: append(consumerParams(), jsonEncoding()), request: jsonOf(pauseRequest{}, pauseRequest{For: 60000}),
			answers: okJSON("It is paused", consumerShown{}, nil), fails: gone,
		},
		{
			id: "resumeConsumer", method: http.MethodPost, path: at + "/resume", tag: tagConsumers, handle: a.resumeConsumer,
			summary: "Go on with deliveries", params: consumerParams(), answers: okJSON("It is not paused", consumerShown{}, nil), fails: gone,
		},
	}
}

func (a *Adapter) lentOperations() []operation {
	const at = "/v1/streams/{stream}/consumers/{consumer}"
	settling := func(id, path, summary, description string, request any, what core.StreamOutcome) operation {
		o := operation{
			id: id, method: http.MethodPost, path: at + path, tag: tagConsumers, summary: summary, description: description,
			params: append(consumerParams(), jsonEncoding()), request: jsonOf(request, map[string]any{"tokens": []string{"1UrKz8r0X3QeJkBEUKjV5iRKUy5BQ0su"}}),
			answers: okJSON("The stream has all of it", results{}, nil), fails: []core.Code{core.CodeNotFound, core.CodePreconditionFailed, core.CodeTimeout},
		}
		if o.handle = a.settleLent(what); what == core.StreamNak {
			o.handle = a.nackLent
		}
		return o
	}
	return []operation{
		{
			id: "fetchLent", method: http.MethodPost, path: at + "/fetch", tag: tagConsumers, handle: a.fetchLent,
			summary: "Borrow messages of a stream",
			description: "Each is held for the caller until it is settled by its token, or until the consumer's ack_wait is over. With `raw=1` or `Accept: application/octet-stream` one comes as the body. " +
				"Tokens outlive the gateway's process.",
			params: append(consumerParams(),
				inQuery("max", "How many at most; 10 by default", 0, 10).within(1, maxFetch),
				inQuery("max_bytes", "About so many bytes at most, but one message; 8 MiB by default", 0, nil).within(1, fetchBytes),
				inQuery("wait", "How long to wait for the first; not at all by default", time.Duration(0), "5s").within(0, int64(maxWait)),
				inQuery("raw", "1: one message as the body", "", nil).oneOf("0", "1"), acceptHeader()),
			answers: map[int]answer{
				http.StatusOK: {description: "What there was", headers: append(placeHeaders(), fetchedHeaders()[:3]...), body: &content{
					types: []string{"application/json"}, value: lentList{}, also: []kind{{types: []string{"*/*"}}},
				}},
				http.StatusNoContent: {description: "There was none, and one was asked for as the body"},
			},
			fails: []core.Code{core.CodeNotFound, core.CodePreconditionFailed, core.CodeTooLarge, core.CodeResourceExhausted, core.CodeTimeout},
		},
		settling("ackLent", "/ack", "Be done with messages of a stream", "By the tokens of a fetch. If any fails the answer is its problem, with `results` for each.", lentSettlement{}, core.StreamAck),
		settling("nackLent", "/nack", "Give messages back to a consumer", "They are delivered again, after the delay if there is one.", lentNack{}, core.StreamNak),
		settling("termLent", "/term", "Give messages up", "They are not delivered to this consumer again; the stream keeps them.", lentSettlement{}, core.StreamTerm),
		settling("extendLent", "/extend", "Hold messages of a stream longer", "The consumer's ack_wait begins anew, now.", lentSettlement{}, core.StreamExtend),
	}
}
