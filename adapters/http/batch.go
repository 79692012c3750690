package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"portico/core"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
)

const (
	maxBatch  = 1000 // messages of one request
	batchBody = 4    // times the largest message: bytes of one request

	maxBatchHeaders = 400 << 10 // bytes of JSON for one message's headers: the 64 KiB that it may have, written as long as JSON can
	maxBatchValues  = 13 << 10  // values and names in them: a message has less room, as each takes 5 bytes or more
)

// batchHeaders is the JSON of a message's headers. It is unmarshalled when its turn comes, so that not all are in memory at once: a value of two bytes takes twenty times that.
type batchHeaders json.RawMessage

// UnmarshalJSON implements json.Unmarshaler.
func (h *batchHeaders) UnmarshalJSON(text []byte) error {
	*h = bytes.Clone(text)
	return nil
}

// Schema implements huma.SchemaProvider.
func (batchHeaders) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: &huma.Schema{}}
}

// check refuses what is not an object, or larger than a message's headers can be.
func (h batchHeaders) check(field string) error {
	switch {
	case len(h) == 0 || string(h) == "null":
		return nil
	case h[0] != '{':
		return badField(field, "an object", "")
	case len(h) > maxBatchHeaders:
		return badField(field, fmt.Sprintf("at most %d bytes", maxBatchHeaders), fmt.Sprintf("%d bytes", len(h)))
	case h.commas() >= maxBatchValues:
		return badField(field, fmt.Sprintf("at most %d values", maxBatchValues), "more")
	}
	return nil
}

// commas counts those outside of strings.
func (h batchHeaders) commas() (n int) {
	inside := false
	for i := 0; i < len(h); i++ {
		switch c := h[i]; {
		case inside && c == '\\':
			i++
		case c == '"':
			inside = !inside
		case c == ',' && !inside:
			n++
		}
	}
	return n
}

// batchItem is one message of many.
type batchItem struct {
	Subject    string       `json:"subject" required:"true" example:"orders.new"`
	Reply      string       `json:"reply" doc:"Where an answer is expected"`
	Headers    batchHeaders `json:"headers" doc:"By name: a string, or a list of strings. Names as in the JSON form of a message"`
	Data       *string      `json:"data" doc:"The payload, if it is text"`
	DataBase64 []byte       `json:"data_base64" doc:"The payload, if it is not"`
	ID         string       `json:"id" doc:"As the header Idempotency-Key" maxLength:"255"`
}

// batchResult is what became of one.
type batchResult struct {
	OK      bool        `json:"ok"`
	Status  int         `json:"status" doc:"What publish would have answered" example:"200"`
	Receipt *receipt    `json:"receipt,omitempty"`
	Code    string      `json:"code,omitempty"`
	Detail  string      `json:"detail,omitempty"`
	Errors  []violation `json:"errors,omitempty"`
}

// batchResults are those of a whole batch, in its order.
type batchResults struct {
	Results []batchResult `json:"results"`
}

func exampleBatch() any {
	return []any{
		map[string]any{"subject": "orders.new", "data": "hello", "headers": map[string]any{"color": "red"}, "id": "order-7"},
		map[string]any{"subject": "images.new", "data_base64": "iVBORw0KGgo="},
	}
}

// publishBatch: POST /v1/publish: a JSON array or lines of JSON. 200 with a result for each, in order.
func (a *Adapter) publishBatch(c *gin.Context) {
	if c.Query("atomic") == "true" {
		a.fail(c, core.Errorf(core.CodeUnimplemented, "a batch is not atomic: each message has a result of its own"))
		return
	}
	body, release, err := a.readPacked(c, batchBody*a.maxBody)
	if err != nil {
		a.fail(c, err)
		return
	}
	defer release()
	items, err := readBatch(body)
	if err != nil {
		a.fail(c, err)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), keepPatience)
	defer cancel()
	c.JSON(http.StatusOK, batchResults{a.publishAll(ctx, busOf(c), items)})
}

// readBatch decodes all of them before any is published.
func readBatch(body []byte) (items []batchItem, err error) {
	body = bytes.TrimSpace(body)
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	array := len(body) > 0 && body[0] == '['
	if array {
		if _, err := dec.Token(); err != nil {
			return nil, notJSON("body", err)
		}
	}
	for dec.More() {
		if len(items) == maxBatch {
			return nil, badField("body", fmt.Sprintf("1 to %d messages", maxBatch), "more")
		}
		var item batchItem
		if err := dec.Decode(&item); err != nil {
			return nil, notJSON(fmt.Sprintf("body[%d]", len(items)), err)
		}
		if err := item.Headers.check(fmt.Sprintf("body[%d].headers", len(items))); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	if array {
		if _, err := dec.Token(); err != nil {
			return nil, notJSON("body", err)
		}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, badField("body", "one array, or one JSON object in each line", "")
	}
	if len(items) == 0 {
		return nil, badField("body", fmt.Sprintf("1 to %d messages", maxBatch), "none")
	}
	return items, nil
}

// publishAll publishes in order and returns when the outcome of each is known, or ctx ends.
func (a *Adapter) publishAll(ctx context.Context, bus *core.Bus, items []batchItem) []batchResult {
	type outcome struct {
		receipt core.Receipt
		err     error
	}
	start := time.Now()
	answered := make([]chan outcome, len(items))
	messages := make([]*core.Message, len(items))
	for i := range items {
		done := make(chan outcome, 1)
		answered[i] = done
		m, err := items[i].message()
		if err != nil {
			done <- outcome{err: err}
			continue
		}
		messages[i] = &core.Message{Data: m.Data} // without the headers, which may be many
		bus.PublishAsync(m, func(r core.Receipt, err error) { done <- outcome{r, err} })
	}
	results := make([]batchResult, len(items))
	for i, done := range answered {
		var o outcome
		select {
		case o = <-done:
		case <-ctx.Done():
			o.err = ctx.Err()
		}
		if results[i] = resultOf(receiptOf(o.receipt), o.err); o.err == nil {
			a.took(messages[i], start)
		}
	}
	return results
}

func resultOf(r receipt, err error) batchResult {
	if err != nil {
		p := problemOf(err)
		return batchResult{Status: p.Status, Code: p.Code, Detail: p.Detail, Errors: p.Errors}
	}
	status := http.StatusAccepted
	if r.kept() {
		status = http.StatusOK
	}
	return batchResult{OK: true, Status: status, Receipt: &r}
}

// message is the item as it travels.
func (x *batchItem) message() (*core.Message, error) {
	h, err := x.header()
	if err != nil {
		return nil, err
	}
	if !tokens(x.Subject, false) {
		return nil, badField("subject", formSubject().words, x.Subject)
	}
	if x.Reply != "" && !tokens(x.Reply, false) {
		return nil, badField("reply", formSubject().words, x.Reply)
	}
	m := &core.Message{Subject: x.Subject, Reply: x.Reply, Header: h, Data: x.DataBase64}
	if x.Data != nil {
		if x.DataBase64 != nil {
			return nil, badField("data", "data or data_base64, not both", "")
		}
		m.Data = []byte(*x.Data)
	}
	if x.ID != "" {
		if len(x.ID) > maxKey || !plain(x.ID) {
			return nil, badField("id", fmt.Sprintf("text of 1 to %d bytes", maxKey), x.ID)
		}
		h[headerMsgID] = []string{x.ID}
	}
	return m, nil
}

// header is the item's headers as those of a message: names as the JSON form tells them.
func (x *batchItem) header() (core.Header, error) {
	var all map[string]any
	if len(x.Headers) > 0 {
		if err := json.Unmarshal(x.Headers, &all); err != nil {
			return nil, notJSON("headers", err)
		}
	}
	out := make(core.Header, len(all)+1)
	for name, value := range all {
		field := "headers." + name
		values, ok := texts(value)
		if !ok {
			return nil, badField(field, "a string or a list of strings", "")
		}
		lower, target := strings.ToLower(name), name
		if p, known := properties[lower]; known {
			target = p.name
		} else if reserved(lower) || !legalName(name) {
			return nil, badField(field, "visible ASCII characters, and no name of the gateway's own or of a command", "")
		}
		if legalValues(name, values) != nil {
			return nil, badField(field, "a legal value, one if it is one of the gateway's own", "")
		}
		out[target] = values
	}
	return out, nil
}

// texts is a string or a list of strings.
func texts(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		return []string{v}, true
	case []any:
		out := make([]string, 0, len(v))
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, false
			}
			out = append(out, s)
		}
		return out, len(out) > 0
	}
	return nil, false
}
