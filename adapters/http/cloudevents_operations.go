package httpapi

import (
	"net/http"

	"portico/core"
)

const tagEvents = "CloudEvents"

// eventOperations are those of CloudEvents: the HTTP binding of version 1.0.
func (a *Adapter) eventOperations() []operation {
	subject := inPath("subject", "Where the event goes, whatever its type", "orders.new").of(formSubject)
	template := inQuery("template", "Where events go: attributes in braces, `{type}` with its dots, others as one token. Default: events.{type}", "", "events.{type}").within(1, 512)
	taken := jsonOf(eventReceipts{}, eventReceipts{[]eventReceipt{{Subject: "events.order.created", ReceiptFields: receipt{Queues: 1, Live: true}}}})
	publish := operation{
		method: http.MethodPost, tag: tagEvents, handle: a.publishEvents,
		description: "Binary (attributes in `ce-` headers), structured (`application/cloudevents+json`) or a batch of up to 1,000 (`application/cloudevents-batch+json`). " +
			"An event of the same source and id that comes again within two minutes is kept once. If one of a batch fails the answer is its problem, and all of it is to be sent again.",
		request: cloudEventBody(),
		answers: map[int]answer{
			http.StatusOK:       {description: "At least one queue or stream keeps each event", body: taken},
			http.StatusAccepted: {description: "Of at least one event nothing is kept: it was shown to whoever listened", body: taken},
		},
		fails:   []core.Code{core.CodeTimeout, core.CodeResourceExhausted, core.CodePreconditionFailed},
		refuses: []int{http.StatusUnsupportedMediaType},
	}
	byType, bySubject := publish, publish
	byType.id, byType.path, byType.params, byType.summary = "publishEvents", "/v1/events", append([]param{template}, attributeParams()...), "Publish CloudEvents by their type"
	bySubject.id, bySubject.path, bySubject.params = "publishEventsTo", "/v1/events/{subject}", append([]param{subject}, attributeParams()...)
	bySubject.summary = "Publish CloudEvents on a subject"
	greet := operation{
		method: http.MethodOptions, tag: tagEvents, handle: a.handshake, lenient: true,
		summary: "Ask for the permission to send (CloudEvents webhooks)", answers: handshakeAnswers(),
	}
	greetByType, greetBySubject := greet, greet
	greetByType.id, greetByType.path, greetByType.params = "greetEvents", "/v1/events", handshakeParams()
	greetBySubject.id, greetBySubject.path, greetBySubject.params = "greetEventsTo", "/v1/events/{subject}", append([]param{subject}, handshakeParams()...)
	return []operation{byType, bySubject, greetByType, greetBySubject}
}

// attributeParams are the headers of an event in binary form.
func attributeParams() []param {
	return []param{
		inHeader("ce-specversion", "Binary form: 1.0", "", "1.0"),
		inHeader("ce-id", "Binary form: names the event within its source", "", "A234-1234-1234"),
		inHeader("ce-source", "Binary form: where it happened, a URI reference", "", "/shop/orders"),
		inHeader("ce-type", "Binary form: what happened", "", "order.created"),
		inHeader("Content-Type", "Of the data in binary form, else what the body is", "", "application/json"),
		inHeader("Content-Encoding", "Binary form: travels with the message as it is. Else how the body is packed: identity, gzip or zstd", "", nil),
	}
}

// cloudEventBody is one event, or several.
func cloudEventBody() *content {
	example := map[string]any{
		"specversion": "1.0", "id": "A234-1234-1234", "source": "/shop/orders", "type": "order.created", "datacontenttype": "application/json", "data": map[string]any{"item": 7},
	}
	return &content{
		types: []string{eventType}, value: eventDocument{}, example: example, text: "An event in JSON format, several of them, or the data of one whose attributes are headers",
		also: []kind{{types: []string{eventBatchType}, value: []eventDocument{}}, {types: []string{"*/*"}}},
	}
}

// eventDocument is an event in JSON format; extensions are further members.
type eventDocument struct {
	SpecVersion     string `json:"specversion" required:"true" enum:"1.0"`
	ID              string `json:"id" required:"true" minLength:"1" doc:"Names the event within its source"`
	Source          string `json:"source" required:"true" minLength:"1" doc:"Where it happened" format:"uri-reference"`
	Type            string `json:"type" required:"true" minLength:"1" doc:"What happened"`
	DataContentType string `json:"datacontenttype,omitempty" doc:"Media type of the data; JSON if there is none"`
	DataSchema      string `json:"dataschema,omitempty" format:"uri"`
	Subject         string `json:"subject,omitempty" doc:"What it happened to; not the subject on the bus"`
	Time            string `json:"time,omitempty" format:"date-time"`
	Data            any    `json:"data,omitempty"`
	DataBase64      []byte `json:"data_base64,omitempty" doc:"Instead of data where that is not text"`
}
