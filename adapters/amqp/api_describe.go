package amqp

import "net/http"

// policyRequest is what a new policy's body is read as, by its decoder of its own.
type policyRequest struct {
	Pattern    string         `json:"pattern" required:"true" doc:"A regular expression that the name contains"`
	ApplyTo    string         `json:"apply-to" enum:"all,queues,exchanges,classic_queues,quorum_queues,streams"`
	Definition map[string]any `json:"definition" required:"true"`
	Priority   int            `json:"priority"`
}

// Describe tells every operation for the OpenAPI document: what the bodies are made of, and the statuses when all goes well. Each place of places is here; a test compares.
func (x *API) Describe(tell func(method, path, summary string, query map[string]any, request, answer any, success ...int)) {
	type parameters = map[string]any
	const ok, made, done = http.StatusOK, http.StatusCreated, http.StatusNoContent
	get := func(path, summary string, answer any) { tell(http.MethodGet, path, summary, nil, nil, answer, ok) }
	list := func(path, summary string, all, page any) {
		tell(http.MethodGet, path, summary, parameters{"page": 0, "page_size": 0, "name": "", "use_regex": false}, nil, []any{all, page}, ok)
	}
	put := func(path, summary string, request any) {
		tell(http.MethodPut, path, summary, nil, request, nil, made, done)
	}
	remove := func(path, summary string, query parameters) {
		tell(http.MethodDelete, path, summary, query, nil, nil, done)
	}

	get("overview", "What there is, in numbers", overviewInfo{})
	list("exchanges", "List exchanges", []exchangeInfo{}, page[exchangeInfo]{})
	get("exchanges/{x}", "Describe an exchange", exchangeInfo{})
	put("exchanges/{x}", "Declare an exchange", exchangeRequest{})
	remove("exchanges/{x}", "Delete an exchange", parameters{"if-unused": false})
	get("exchanges/{x}/bindings/source", "The bindings that lead from an exchange", []bindingInfo{})
	get("exchanges/{x}/bindings/destination", "The bindings that lead to an exchange", []bindingInfo{})
	tell(http.MethodPost, "exchanges/{x}/publish", "Publish to an exchange", nil, publication{}, routing{}, ok)

	list("queues", "List queues", []queueInfo{}, page[queueInfo]{})
	get("queues/{q}", "Describe a queue, with its consumers", queueInfo{})
	put("queues/{q}", "Declare a queue", queueRequest{})
	remove("queues/{q}", "Delete a queue", parameters{"if-unused": false, "if-empty": false})
	remove("queues/{q}/contents", "Purge a queue", nil)
	get("queues/{q}/bindings", "The bindings of a queue", []bindingInfo{})

	get("bindings", "List bindings", []bindingInfo{})
	for path, what := range map[string]string{"bindings/e/{x}/q/{q}": "a queue", "bindings/e/{x}/e/{y}": "another exchange"} {
		get(path, "The bindings of an exchange to "+what, []bindingInfo{})
		tell(http.MethodPost, path, "Bind "+what+" to an exchange", nil, bindingRequest{}, bindingInfo{}, made)
		get(path+"/{key}", "A binding of "+what+" by its properties_key", bindingInfo{})
		remove(path+"/{key}", "Unbind "+what, nil)
	}
	list("connections", "List connections", []connectionInfo{}, page[connectionInfo]{})
	get("connections/{c}", "Describe a connection", connectionInfo{})
	remove("connections/{c}", "Close a connection", nil)
	get("connections/{c}/channels", "The channels of a connection", []channelInfo{})
	list("channels", "List channels", []channelInfo{}, page[channelInfo]{})
	get("channels/{c}", "Describe a channel", channelInfo{})
	get("consumers", "List consumers", []consumerInfo{})
	for path, word := range map[string]string{"policies": "policy", "operator-policies": "operator policy"} {
		get(path, "List the policies of this kind: "+word, []policyInfo{})
		get(path+"/{p}", "Describe one "+word, policyInfo{})
		put(path+"/{p}", "Put one "+word+" in force", policyRequest{})
		remove(path+"/{p}", "Take one "+word+" away", nil)
	}
}
