package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"strings"
	"time"

	"portico/adapters/http/inbound"
	"portico/core"

	"github.com/gin-gonic/gin"
)

const (
	defaultEventSubject = "events.{type}"
	eventIDPrefix       = "ce:" // of the ids under which events are kept once
	structuredFactor    = 2     // times the largest message, and maxControl for the attributes: bytes of one event in JSON
)

// eventReceipt is what became of an event that was taken.
type eventReceipt struct {
	Subject string `json:"subject" doc:"Where it was published" example:"events.order.created"`
	ReceiptFields
}

// ReceiptFields is receipt under a name that reflection shows where it is embedded.
type ReceiptFields = receipt

// eventReceipts is the answer to events that were taken, in their order.
type eventReceipts struct {
	Events []eventReceipt `json:"events"`
}

// publishEvents: POST /v1/events and /v1/events/{subject}: one event, binary or structured, or a batch. 200 when all of it is kept, 202 when some of it
// was only shown to whoever listened.
func (a *Adapter) publishEvents(c *gin.Context) {
	base, err := messageHeader(c.Request.Header)
	if err != nil {
		a.fail(c, err)
		return
	}
	maps.DeleteFunc(base, func(name string, _ []string) bool {
		return strings.HasPrefix(name, cePrefix) || name == core.HeaderContentType
	})
	route, err := eventRoute(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	events, release, err := a.readEvents(c, base)
	if err != nil {
		a.fail(c, err)
		return
	}
	defer release()
	messages := make([]*core.Message, len(events))
	for i := range events {
		if messages[i], err = events[i].message(base, route); err != nil {
			a.fail(c, err)
			return
		}
	}
	a.publishTogether(c, messages)
}

// eventRoute is the template of the subject: the path's subject is one without fields.
func eventRoute(c *gin.Context) (inbound.Template, error) {
	if subject := c.Param("subject"); subject != "" {
		return inbound.PlainTemplate(subject), nil
	}
	text, there := c.GetQuery("template")
	if !there {
		text = defaultEventSubject
	}
	t, err := inbound.ParseTemplate(text)
	if err != nil {
		return t, badField("query.template", err.Error(), text)
	}
	for _, field := range t.Fields() {
		if !attributeName(field) {
			return t, badField("query.template", "fields that are attributes of the event, such as {type}", text)
		}
	}
	return t, nil
}

// readEvents reads the body, and the headers where they are attributes. What is packed is unpacked where the body is JSON, and base loses what says so.
func (a *Adapter) readEvents(c *gin.Context, base core.Header) (events []cloudEvent, release func(), err error) {
	contentType, _, err := mime.ParseMediaType(c.GetHeader("Content-Type"))
	switch {
	case err == nil && contentType == eventBatchType:
		delete(base, core.HeaderContentEncoding)
		body, release, err := a.readPacked(c, batchBody*a.maxBody)
		if err != nil {
			return nil, nil, err
		}
		if events, err = batchedEvents(body); err != nil {
			release()
		}
		return events, release, err
	case err == nil && contentType == eventType:
		delete(base, core.HeaderContentEncoding)
		body, release, err := a.readPacked(c, structuredFactor*a.maxBody+maxControl)
		if err != nil {
			return nil, nil, err
		}
		e, err := structuredEvent(body, "body")
		if err != nil {
			release()
		}
		return []cloudEvent{e}, release, err
	case strings.HasPrefix(contentType, "application/cloudevents"):
		return nil, nil, withStatus(badField("header.Content-Type", eventType+", "+eventBatchType+" or the type of the data", contentType), http.StatusUnsupportedMediaType)
	}
	e, err := binaryEvent(c.Request.Header)
	if err != nil {
		return nil, nil, err
	}
	e.data, release, err = a.readBody(c, a.maxBody)
	return []cloudEvent{e}, release, err
}

// batchedEvents decodes all of them before any is published [JSON 4].
func batchedEvents(body []byte) (events []cloudEvent, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if first, err := dec.Token(); err != nil || first != json.Delim('[') {
		return nil, badField("body", "an array of events", "")
	}
	for dec.More() {
		if len(events) == maxBatch {
			return nil, badField("body", fmt.Sprintf("at most %d events", maxBatch), "more")
		}
		var document json.RawMessage
		at := fmt.Sprintf("body[%d]", len(events))
		if err := dec.Decode(&document); err != nil {
			return nil, notJSON(at, err)
		}
		e, err := structuredEvent(document, at)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	if _, err := dec.Token(); err != nil {
		return nil, notJSON("body", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, badField("body", "one array and nothing behind it", "")
	}
	return events, nil
}

// message is the event as it travels: base has what the request says beside it.
func (e *cloudEvent) message(base core.Header, route inbound.Template) (*core.Message, error) {
	h, err := e.header()
	if err != nil {
		return nil, err
	}
	subject, err := route.Expand(func(field string) (string, error) {
		value, _ := decodeAttribute(h.Get(cePrefix + field))
		if field == "type" {
			return core.EncodeKey(value), nil // its dots are words of the subject
		}
		return core.EncodeToken(value), nil
	})
	if err != nil {
		return nil, err
	}
	for name, values := range base {
		h[name] = values
	}
	h[headerMsgID] = []string{e.dedupeID()}
	return &core.Message{Subject: subject, Header: h, Data: e.data}, nil
}

// dedupeID is the id under which queues and streams keep the event once: source and id together name it [spec 3.1.1].
func (e *cloudEvent) dedupeID() string {
	source := e.attributes.Source()
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s%s", len(source), source, e.attributes.ID()))
	return eventIDPrefix + base64.RawURLEncoding.EncodeToString(sum[:])
}

// publishTogether publishes in order and answers when the outcome of each is known. If one of a batch fails the answer is its problem: the sender sends
// all of it again, and what was taken is not
// kept a second time.
func (a *Adapter) publishTogether(c *gin.Context, messages []*core.Message) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), keepPatience)
	defer cancel()
	start := time.Now()
	all, errs := publishInOrder(ctx, busOf(c), messages)
	out, status, failed := eventReceipts{Events: make([]eventReceipt, len(all))}, http.StatusOK, error(nil)
	for i, told := range all {
		if errs[i] != nil {
			if failed == nil {
				failed = errs[i]
			}
			continue
		}
		a.took(messages[i], start)
		r := receiptOf(told)
		if !r.kept() {
			status = http.StatusAccepted
		}
		out.Events[i] = eventReceipt{messages[i].Subject, r}
	}
	switch {
	case failed != nil && len(all) > 1:
		a.fail(c, batchFailed(failed, errs))
	case failed != nil:
		a.fail(c, failed)
	default:
		c.JSON(status, out)
	}
}

// batchFailed says how many of a batch were not taken.
func batchFailed(first error, errs []error) error {
	e := core.AsError(first)
	return &core.Error{
		Code: e.Code, Err: e.Err,
		Detail: fmt.Sprintf("%d of %d events were not taken, the first because: %s. Send all of them again", len(errs)-successes(errs), len(errs), e.Detail),
	}
}

// publishInOrder returns what became of each when all is known, or ctx has ended.
func publishInOrder(ctx context.Context, bus *core.Bus, messages []*core.Message) ([]core.Receipt, []error) {
	type outcome struct {
		receipt core.Receipt
		err     error
	}
	answered := make([]chan outcome, len(messages))
	for i, m := range messages {
		done := make(chan outcome, 1)
		answered[i] = done
		bus.PublishAsync(m, func(r core.Receipt, err error) { done <- outcome{r, err} })
	}
	receipts, errs := make([]core.Receipt, len(messages)), make([]error, len(messages))
	for i, done := range answered {
		select {
		case o := <-done:
			receipts[i], errs[i] = o.receipt, o.err
		case <-ctx.Done():
			errs[i] = core.AsError(ctx.Err())
		}
	}
	return receipts, errs
}
