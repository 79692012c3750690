package httpapi

import (
	"net/http"
	"time"

	"portico/core"
)

// liveOperations are listening, and answering requests.
func (a *Adapter) liveOperations() []operation {
	return []operation{a.subscribeOperation(), a.serveOperation(), a.serveAnswerOperation(), a.endServingOperation()}
}

func (a *Adapter) subscribeOperation() operation {
	return operation{
		id: "subscribe", method: http.MethodGet, path: "/v1/subscribe", tag: tagMessages, handle: a.subscribe,
		summary: "Listen to subjects",
		description: "Server-sent events (or NDJSON, by Accept) until the client goes: `message` with the JSON form of a message, `dropped` with how many messages are missing, and one last `error` with a " +
			"problem when the client does not keep up or the gateway stops. With `stream` the messages are those that the stream keeps, with their place as the event's id: a client that comes back with " +
			"`Last-Event-ID` misses nothing.",
		params: []param{
			inQuery("subject", "Pattern, up to 64 of them: `*` is one token, `>` the rest. Required without a stream", []string(nil), "orders.>").of(formPattern),
			inQuery("group", "Of the subscribers with the same group one gets each message", "", "workers"),
			inQuery("slow", "What happens when the client does not keep up", "", "close").oneOf(string(slowClose), string(slowDropOldest), string(slowDropNewest)),
			inQuery("stream", "The stream that the messages are read from", "", nil),
			inQuery("from", "With a stream: the sequence number to begin with; else what comes from now on", uint64(0), nil),
			inQuery("since", "With a stream: the time to begin with, or a duration that means so long ago", "", nil),
			inHeader("Last-Event-ID", "With a stream: the id of the last event that was seen", "", nil),
		},
		answers: map[int]answer{http.StatusOK: {description: "The stream of events", body: followBody("Server-sent events")}},
		fails:   []core.Code{core.CodeNotFound, core.CodeResourceExhausted},
	}
}

// followBody is an answer that goes on.
func followBody(text string) *content {
	return &content{types: []string{"text/event-stream"}, text: text, also: []kind{{types: []string{"application/x-ndjson"}}}}
}

func (a *Adapter) serveOperation() operation {
	return operation{
		id: "serve", method: http.MethodPost, path: "/v1/serve", tag: tagMessages, handle: a.serve,
		summary: "Wait for a request to answer",
		description: "The long poll of a responder. The answer is the request as it is, with a token in `Portico-Request`. Between two polls, for 30 s, up to 64 requests wait in the session whose id is in " +
			"`Portico-Session`; without it, or when it has ended, there is a new one.",
		params: []param{
			inQuery("subject", "Pattern that is served", "", "math.double").of(formPattern).must(),
			inQuery("group", "Of the responders with the same group one gets each request", "", "workers"),
			inQuery("wait", "How long to wait for a request, up to 5m; 30s by default", time.Duration(0), "1s").within(0, int64(maxWait)),
			inQuery("session", "The session of the last poll", "", nil),
		},
		answers: map[int]answer{
			http.StatusOK: {description: "A request", body: messageBody(), headers: []param{
				inHeader(headerSession, "The session, for the next poll", "", nil),
				inHeader(headerRequest, "Token for the answer; not there when none is wanted", "", nil),
				inHeader("Portico-Subject", "Where it was published", "", nil),
			}},
			http.StatusNoContent: {description: "None came in time", headers: []param{inHeader(headerSession, "The session, for the next poll", "", nil)}},
		},
		fails: []core.Code{core.CodeResourceExhausted, core.CodeUnavailable},
	}
}

func (a *Adapter) serveAnswerOperation() operation {
	return operation{
		id: "serveAnswer", method: http.MethodPost, path: "/v1/serve/answers/{request}", tag: tagMessages, handle: a.serveAnswer,
		summary: "Answer a request",
		params:  []param{inPath("request", "The token in Portico-Request", "")},
		request: rawBody("The answer's payload, of any content type; headers as for a publish"),
		answers: okJSON("It was sent", answered{}, answered{true}),
		fails:   []core.Code{core.CodePreconditionFailed, core.CodeTooLarge, core.CodeResourceExhausted, core.CodeTimeout, core.CodeUnavailable},
	}
}

func (a *Adapter) endServingOperation() operation {
	return operation{
		id: "endServing", method: http.MethodDelete, path: "/v1/serve/sessions/{session}", tag: tagMessages, handle: a.endServing,
		summary: "End a responder's session",
		params:  []param{inPath("session", "The id in Portico-Session", "")},
		answers: noContent("It has ended; requests that waited in it are not answered"),
		fails:   []core.Code{core.CodeNotFound},
	}
}
