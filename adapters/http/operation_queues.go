package httpapi

import (
	"math"
	"net/http"
	"time"

	"portico/core"
	"portico/core/policy"
)

// queueName is the parameter of every path below a queue.
func queueName() param {
	p := inPath("q", "The queue's name, percent-encoded: any octets but NUL", "jobs").within(1, maxName).of(formQueue)
	p.octets = true
	return p
}

// maxName is the longest name of a queue, in bytes, as core has it.
const maxName = 255

// removed and purged are how many messages went.
type removed struct {
	Ready int `json:"ready" doc:"Messages that were ready and went with it"`
}

type purged struct {
	Purged int `json:"purged" doc:"Messages that were removed"`
}

// queueOperations are those of queues.
func (a *Adapter) queueOperations() []operation {
	gone := []core.Code{core.CodeNotFound, core.CodeLocked}
	shown := jsonOf(description{}, exampleQueue())
	return []operation{
		{
			id: "listQueues", method: http.MethodGet, path: "/v1/queues", tag: tagQueues, handle: a.list,
			summary: "List queues", description: "By name; those that the user may not consume are left out.",
			params: pageParams(), answers: pageAnswer(queueList{}),
		},
		{
			id: "declareQueue", method: http.MethodPut, path: "/v1/queues/{q}", tag: tagQueues, handle: a.declare,
			summary: "Create a queue", description: "What is left out has its default; so has everything without a body.",
			params: []param{queueName(), jsonEncoding()}, request: jsonOf(declaration{}, exampleDeclaration()),
			answers: map[int]answer{
				http.StatusCreated: {description: "It was created", body: shown},
				http.StatusOK:      {description: "It was there with the same properties", body: shown},
			},
			fails: []core.Code{core.CodeLocked, core.CodePreconditionFailed, core.CodeResourceExhausted},
		},
		{
			id: "getQueue", method: http.MethodGet, path: "/v1/queues/{q}", tag: tagQueues, handle: a.withQueue(policy.Consume, a.show),
			summary: "Describe a queue", params: []param{queueName()},
			answers: map[int]answer{http.StatusOK: {description: "The queue", body: shown}}, fails: gone,
		},
		{
			id: "deleteQueue", method: http.MethodDelete, path: "/v1/queues/{q}", tag: tagQueues, handle: a.withQueue(policy.Delete, a.remove),
			summary: "Delete a queue", description: "With everything that it holds.", params: []param{queueName()},
			answers: okJSON("It is gone", removed{}, nil), fails: gone,
		},
		{
			id: "appendMessage", method: http.MethodPost, path: "/v1/queues/{q}/messages", tag: tagQueues, handle: a.withQueue(policy.Append, a.appendMessage),
			summary: "Put a message into a queue", params: append([]param{queueName(), idempotencyKey()}, messageParams()...),
			description: "As publish, but into this queue alone.", request: rawBody("The payload"),
			answers: map[int]answer{http.StatusCreated: {description: "The queue keeps it", body: jsonOf(receipt{}, receipt{Queues: 1})}},
			fails:   append([]core.Code{core.CodeTimeout, core.CodeResourceExhausted, core.CodePreconditionFailed}, gone...),
		},
		{
			id: "purgeQueue", method: http.MethodDelete, path: "/v1/queues/{q}/messages", tag: tagQueues, handle: a.withQueue(policy.Purge, a.purge),
			summary: "Empty a queue", description: "What is ready is removed; what is held stays.", params: []param{queueName()},
			answers: okJSON("It is empty", purged{}, nil), fails: append([]core.Code{core.CodeUnimplemented}, gone...),
		},
	}
}

// settleOperations are how messages leave a queue.
func (a *Adapter) settleOperations() []operation {
	settling := func(id, summary, description string, handle func(*Adapter) ginQueueHandler, request any) operation {
		return operation{
			id: id, method: http.MethodPost, path: "/v1/queues/{q}/" + id, tag: tagQueues, handle: a.withQueue(policy.Consume, handle(a)),
			summary: summary, description: description, params: []param{queueName(), jsonEncoding()},
			request: jsonOf(request, map[string]any{"tokens": []string{"AAAAAAAAAAEAAAAAAAAAAQAAAAGlDe6HTaVnd2lpKYsXVr0i"}}),
			answers: okJSON("All of them are settled", results{}, nil),
			fails:   []core.Code{core.CodeNotFound, core.CodeLocked, core.CodePreconditionFailed},
		}
	}
	return []operation{
		a.fetchOperation(),
		settling("ack", "Be done with messages", "By the tokens of a fetch. If any fails the answer is its problem, with `results` for each.",
			func(a *Adapter) ginQueueHandler { return a.ack }, ackRequest{}),
		settling("nack", "Give messages back", "To their place, or with `requeue` false to where the dead go.",
			func(a *Adapter) ginQueueHandler { return a.nack }, nackRequest{}),
		settling("extend", "Hold messages longer", "The lease begins anew, now.", func(a *Adapter) ginQueueHandler { return a.extend }, extendRequest{}),
	}
}

func (a *Adapter) fetchOperation() operation {
	return operation{
		id: "fetch", method: http.MethodPost, path: "/v1/queues/{q}/fetch", tag: tagQueues, handle: a.withQueue(policy.Consume, a.fetch),
		summary: "Borrow messages",
		description: "Each is held for the caller until it is settled by its token, or until its lease runs out. With `raw=1` or `Accept: application/octet-stream` " +
			"one message comes as the body, with `Accept: application/vnd.portico.message+json` one in its JSON form.",
		params: []param{
			queueName(),
			inQuery("max", "How many at most; 10 by default", 0, 10).within(1, maxFetch),
			inQuery("wait", "How long to wait for the first; not at all by default", time.Duration(0), "5s").within(0, int64(maxWait)),
			inQuery("lease", "How long they are held; 30s by default", time.Duration(0), "30s").within(int64(minLease), int64(maxLease)),
			inQuery("priority", "Among the queue's consumers; 0 by default", int32(0), nil).within(math.MinInt32, math.MaxInt32),
			inQuery("raw", "1: one message as the body", "", nil).oneOf("0", "1"),
			inHeader("Accept", "How the messages are told", []string(nil), nil),
		},
		answers: map[int]answer{
			http.StatusOK: {description: "What there was", headers: fetchedHeaders(), body: &content{
				types: []string{"application/json"}, value: fetchedList{}, example: exampleFetched(),
				also: []kind{{types: []string{messageType}, value: fetched{}}, {types: []string{"*/*"}}},
			}},
			http.StatusNoContent: {description: "There was none, and one was asked for as the body"},
		},
		fails: []core.Code{core.CodeNotFound, core.CodeLocked, core.CodeUnimplemented, core.CodeTooLarge, core.CodeResourceExhausted, core.CodeTimeout},
	}
}

func fetchedHeaders() []param {
	return []param{
		inHeader("Portico-Token", "Of a raw message: what settles it", "", nil),
		inHeader("Portico-Attempt", "Of a raw message: how often it has been delivered", 0, nil),
		inHeader("Portico-Redelivered", "Of a raw message: whether somebody may have seen it before", false, nil),
		inHeader("Portico-Subject", "Of a raw message: its subject", "", nil),
		inHeader("Portico-Reply", "Of a raw message: where an answer is expected", "", nil),
	}
}

// bindingOperations are those of bindings.
func (a *Adapter) bindingOperations() []operation {
	pattern := inPath("pattern", "Subject pattern: `*` is one token, `>` the rest", "orders.*").of(formPattern)
	gone := []core.Code{core.CodeNotFound, core.CodeLocked}
	return []operation{
		{
			id: "listBindings", method: http.MethodGet, path: "/v1/queues/{q}/bindings", tag: tagBindings, handle: a.withQueue(policy.Consume, a.bindings),
			summary: "List a queue's bindings", params: append([]param{queueName()}, pageParams()...), answers: pageAnswer(bindingList{}), fails: gone,
		},
		{
			id: "getBinding", method: http.MethodGet, path: "/v1/queues/{q}/bindings/{pattern}", tag: tagBindings, handle: a.withQueue(policy.Consume, a.binding),
			summary: "See whether a binding is there", params: []param{queueName(), pattern},
			answers: okJSON("It is there", bound{}, bound{"jobs", "orders.*"}), fails: gone,
		},
		{
			id: "bind", method: http.MethodPut, path: "/v1/queues/{q}/bindings/{pattern}", tag: tagBindings, handle: a.withQueue(policy.Bind, a.bind),
			summary: "Bind a queue to subjects", description: "What is published there goes into the queue from now on.",
			params: []param{queueName(), pattern}, answers: noContent("It is bound, or was"), fails: append([]core.Code{core.CodeResourceExhausted}, gone...),
		},
		{
			id: "unbind", method: http.MethodDelete, path: "/v1/queues/{q}/bindings/{pattern}", tag: tagBindings, handle: a.withQueue(policy.Bind, a.unbind),
			summary: "Take a binding away", params: []param{queueName(), pattern}, answers: noContent("It is not bound, or was not"), fails: gone,
		},
	}
}
